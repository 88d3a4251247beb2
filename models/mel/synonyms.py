"""Other projects' names of the members of a config, and the names to write instead."""

from __future__ import annotations

# Of librosa, torchaudio, transformers, HiFi-GAN, Tacotron 2, ParallelWaveGAN, ESPnet, Coqui, NeMo,
# DiffSinger, tf.signal and Kaldi.
_NAMES: dict[str, str] = {
    "'sample_rate'": "sr fs rate samplerate sampling_rate sample_freq sample_frequency freq "
    "audio_sample_rate frame_rate",
    "'n_fft'": "nfft fft fft_size fft_length filter_length fft_len n_window_size frame_length_fft",
    "'hop_length'": "hop hop_size hopsize hop_len frame_shift frame_step stride n_window_stride "
    "n_hop hop_samples",
    "'win_length'": "win win_size window_size window_length win_len frame_length winlen",
    "'n_mels'": "n_mel num_mels num_mel mels mel_bins num_mel_bins n_mel_channels mel_channels "
    "n_mel_bins audio_num_mel_bins feature_size nfilt n_filters bands n_bands num_bands mel_dim "
    "acoustic_dim num_filters nb_mels n_melspec",
    "'fmin'": "f_min mel_fmin fmin_hz min_frequency lower_edge_hertz low_freq lowfreq freq_min "
    "mel_min f_low",
    "'fmax'": "f_max mel_fmax fmax_hz max_frequency upper_edge_hertz high_freq highfreq freq_max "
    "mel_max f_high max_freq",
    "'mel_scale'": "htk mel_type mel_formula",
    "'norm'": "mel_norm normalization filterbank_norm",
    "'filterbank'": "mel_basis mel_filters mel_filterbank mel_fb fbank fb",
    "'triangles'": "triangularize_in_mel_space",
    "'padding'": "center pad_mode pad padding_mode snip_edges",
    "'window'": "win_type window_type window_fn window_fcn win_fn",
    "'power'": "mag_power magnitude_power",
    "'mean'": "means mel_mean data_mean",
    "'std'": "stds mel_std data_std variance var",
    "'scale'": "log log_base log_type compression mel_log log_mel spec_scale mel_scale_type",
    "'clip' in 'scale'": "clip_val clip min_level amin eps mel_floor log_floor log_offset "
    "min_value dynamic_range",
    "'ref_db' in 'scale', whose kind is coqui": "ref_level_db ref_db",
    "'min_db' in 'scale', whose kind is coqui": "min_level_db min_db",
    "'top_db' in 'scale', whose kind is db": "top_db",
    "'max_norm' in 'scale', whose kind is coqui": "max_abs_value max_norm",
}
CONFIG_SYNONYMS = {name: said for said, names in _NAMES.items() for name in names.split()}
"""Of a mel config."""

_SCALE_NAMES: dict[str, str] = {
    "'kind'": "type name base log scale",
    "'clip', or 'floor' for db": "amin eps clip_val min min_value clamp threshold clip floor",
    "'offset'": "add bias epsilon c",
    "'reference'": "ref ref_value",
    "'top_db' of the kind db": "top_db dynamic_range_db range_db",
    "'ref_db' of the kind coqui": "ref_level_db ref_db",
    "'min_db' of the kind coqui": "min_level_db min_db",
    "'max_norm' of the kind coqui": "max_abs_value max_norm",
}
SCALE_SYNONYMS = {name: said for said, names in _SCALE_NAMES.items() for name in names.split()}
"""Of a scale."""

_KINDS: dict[str, str] = {
    "'ln', the natural logarithm, or 'log10'": "log logarithm log_mel logmel",
    "'ln'": "loge log_e natural e np.log torch.log dynamic_range_compression",
    "'log10'": "log_10 10 np.log10 torch.log10",
    "'db'": "decibel decibels power_to_db amplitude_to_db dbfs logdb",
    "'linear'": "none lin identity magnitude power amplitude raw",
}
KIND_SYNONYMS = {name: said for said, names in _KINDS.items() for name in names.split()}
"""Of the name of a scale."""
