import pytest
import torch
from torch.utils.data import DataLoader

from tobias_aug.training.prefetch import Prefetcher, one_ahead

NOTHING = (lambda batch: batch, lambda batch: batch)


def failing(count):
    yield from range(count)
    raise OSError("the disk is gone")


@pytest.mark.parametrize("count", [0, 1, 2, 5])
def test_batches_come_in_order_and_each_is_sent_before_the_one_ahead_is_received(count):
    events = []
    batches = one_ahead(
        iter(range(count)),
        lambda batch: events.append(("sent", batch)) or batch,
        lambda batch: events.append(("received", batch)) or batch,
    )
    assert list(batches) == list(range(count))
    for number in range(count - 1):
        assert events.index(("sent", number + 1)) < events.index(("received", number))
    assert len(events) == 2 * count


def test_an_error_comes_after_the_batches_before_it():
    batches = one_ahead(failing(2), *NOTHING)
    assert [next(batches), next(batches)] == [0, 1]
    with pytest.raises(OSError, match="the disk is gone"):
        next(batches)


def test_leaving_early_reads_one_batch_too_many_at_most():
    source = iter(range(10))
    batches = one_ahead(source, *NOTHING)
    assert next(batches) == 0
    batches.close()
    assert next(source) == 2


def test_a_loader_passes_through_on_the_cpu_again_and_again():
    loader = Prefetcher(DataLoader([{"image": torch.full((2,), n), "name": str(n)} for n in range(5)], 2), "cpu")
    assert len(loader) == 3
    for _ in range(2):
        batches = list(loader)
        assert [batch["name"] for batch in batches] == [["0", "1"], ["2", "3"], ["4"]]
        assert torch.equal(batches[1]["image"], torch.tensor([[2, 2], [3, 3]]))


class Epochs:
    def __len__(self):
        return 3

    def epoch(self, number, start=0):
        return iter([torch.tensor([number, batch]) for batch in range(start, 3)])


def test_epochs_pass_through_and_what_has_none_says_so():
    assert [batch.tolist() for batch in Prefetcher(Epochs(), "cpu").epoch(4, 1)] == [[4, 1], [4, 2]]
    with pytest.raises(TypeError, match="Epochs is read by epochs: use epoch"):
        iter(Prefetcher(Epochs(), "cpu"))
    with pytest.raises(TypeError, match="list has no epochs to choose from: iterate over it"):
        Prefetcher([], "cpu").epoch(0)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_a_gpu_gets_the_same_batches():
    batches = [(torch.full((1000, 1000), n), str(n)) for n in range(6)]
    for (sent, name), (given, other) in zip(Prefetcher(batches, "cuda"), batches, strict=True):
        assert sent.is_cuda
        assert torch.equal(sent.cpu(), given)
        assert name == other
