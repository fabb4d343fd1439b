"""Between-class learning: train on mixes of two classes, and predict their ratio (Tokozume et al., 2018)."""

from typing import TYPE_CHECKING

from tobias_aug.runtime.lazy import lazy_names

if TYPE_CHECKING:
    from tobias_aug.between_class.audio import BetweenClassAudioMix as BetweenClassAudioMix
    from tobias_aug.between_class.audio_crops import RandomCropPadded as RandomCropPadded
    from tobias_aug.between_class.audio_crops import RandomGain as RandomGain
    from tobias_aug.between_class.audio_crops import RandomTimeScale as RandomTimeScale
    from tobias_aug.between_class.audio_crops import scale_time as scale_time
    from tobias_aug.between_class.audio_crops import ten_crop_probabilities as ten_crop_probabilities
    from tobias_aug.between_class.audio_crops import ten_crops as ten_crops
    from tobias_aug.between_class.audio_crops import trim_silence as trim_silence
    from tobias_aug.between_class.audio_functional import a_weighted_gain as a_weighted_gain
    from tobias_aug.between_class.audio_functional import a_weighting as a_weighting
    from tobias_aug.between_class.audio_functional import loudness_ratio as loudness_ratio
    from tobias_aug.between_class.audio_functional import mix_by_loudness as mix_by_loudness
    from tobias_aug.between_class.audio_functional import mix_waveforms as mix_waveforms
    from tobias_aug.between_class.convnet import ConvNet as ConvNet
    from tobias_aug.between_class.envnet import EnvNet as EnvNet
    from tobias_aug.between_class.envnet import EnvNetV2 as EnvNetV2
    from tobias_aug.between_class.image import BetweenClassDataset as BetweenClassDataset
    from tobias_aug.between_class.image import BetweenClassMix as BetweenClassMix
    from tobias_aug.between_class.image_functional import mix_images as mix_images
    from tobias_aug.between_class.image_functional import mix_pairs as mix_pairs
    from tobias_aug.between_class.image_functional import pixel_share as pixel_share
    from tobias_aug.between_class.image_functional import wave_weights as wave_weights
    from tobias_aug.between_class.loss import ratio_loss as ratio_loss
    from tobias_aug.between_class.normalize import BetweenClassNormalize as BetweenClassNormalize

__getattr__, __dir__, __all__ = lazy_names(
    __name__,
    {
        "image": ["BetweenClassMix", "BetweenClassDataset"],
        "image_functional": ["mix_images", "mix_pairs", "pixel_share", "wave_weights"],
        "normalize": ["BetweenClassNormalize"],
        "loss": ["ratio_loss"],
        "audio": ["BetweenClassAudioMix"],
        "audio_functional": ["a_weighted_gain", "a_weighting", "loudness_ratio", "mix_by_loudness", "mix_waveforms"],
        "audio_crops": [
            "RandomCropPadded",
            "RandomGain",
            "RandomTimeScale",
            "scale_time",
            "ten_crop_probabilities",
            "ten_crops",
            "trim_silence",
        ],
        "convnet": ["ConvNet"],
        "envnet": ["EnvNet", "EnvNetV2"],
    },
)
