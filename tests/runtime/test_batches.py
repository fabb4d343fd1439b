"""Which images share a batch: the same ones, whatever an interruption left."""

from dataclasses import dataclass
from operator import attrgetter

from hypothesis import given
from hypothesis import strategies as st

from tobias_aug.runtime.batches import BLOCK_BATCHES, Entry, batches_of_one_shape, entries_of


@dataclass(frozen=True)
class Job:
    entry: Entry
    shape: int


def test_images_wait_for_others_of_their_shape_in_their_block_alone():
    taken = 0

    def jobs():
        nonlocal taken
        for number in range(60):
            taken += 1
            yield Job(Entry(str(number), number // 16, pending=True), number % 23 if number < 40 else 5)

    seen = []
    for batch in batches_of_one_shape(jobs(), 4, attrgetter("entry"), attrgetter("shape")):
        assert len({(job.entry.block, job.shape) for job in batch}) == 1
        assert len(batch) <= 4
        seen += [job.entry.name for job in batch]
        assert taken - len(seen) <= 16
    assert sorted(seen, key=int) == [str(number) for number in range(60)]


@given(st.lists(st.integers(0, 2), min_size=1, max_size=40), st.integers(1, 3), st.data())
def test_a_pending_image_has_the_batch_that_it_had_without_an_interruption(shapes, batch_size, data):
    names = [str(number) for number in range(len(shapes))]
    pending = data.draw(st.lists(st.sampled_from(names), unique=True))

    def batch_of(left):
        entries = entries_of(names, left, batch_size)
        jobs = (Job(entry, shapes[int(entry.name)]) for entry in entries)
        batches = list(batches_of_one_shape(jobs, batch_size, attrgetter("entry"), attrgetter("shape")))
        return {job.entry.name: [other.entry.name for other in batch] for batch in batches for job in batch}

    whole, resumed = batch_of(names), batch_of(pending)
    assert all(resumed[name] == whole[name] for name in pending)
    assert len(resumed) <= len(pending) * BLOCK_BATCHES * batch_size
