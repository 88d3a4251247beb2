"""Files that are something else: what they are by their first bytes, and the way out."""

from __future__ import annotations

from unmel.models.errors import Unreadable

# Kinds of formats, and what somebody who sent one for a mel can do.
_WAYS = {
    "audio": "a mel; POST /analyze makes one of audio",
    "foreign audio": "a mel; POST /analyze makes one of audio, of wav, flac, ogg or mp3",
    "picture": "the numbers of the mel, as np.save writes them, not a picture of them",
    "torch": "np.save(file, mel.numpy()), or safetensors.torch.save_file({'mel': mel}, file); "
    "nothing is ever unpickled",
    "pickle": "np.save(file, mel): nothing is ever unpickled",
    "gzip": "the file unpacked, or the whole body packed, with Content-Encoding: gzip",
    "packed": "the file unpacked",
    "data": "np.save(file, mel), with the mel read out of it",
    "text": "the output of np.save; np.save(file, np.loadtxt(text)) makes it of numbers in text",
    "json": "the output of np.save; or Content-Type: application/json, with a member 'mel'",
    "npy": "Content-Type: application/x-npy for this one, or application/octet-stream for any",
    "npz": "Content-Type: application/x-npz for this one, or application/octet-stream for any",
    "safetensors": "Content-Type: application/x-safetensors for this one, or "
    "application/octet-stream for any",
}
_ARRAYS = ("npy", "npz", "safetensors")
_AUDIO_WANTED = "a wav, flac, ogg, opus, mp3, aiff, au or caf file"

# Place, bytes, name and kind; the first that fits counts.
_SIGNATURES: list[tuple[int, bytes, str, str]] = [
    (0, b"\x93NUMPY", "an npy file", "npy"),
    (8, b"WEBP", "a WebP picture", "picture"),
    (8, b"AVI ", "an AVI file", "foreign audio"),
    (0, b"RIFF", "a wav file", "audio"),
    (0, b"RF64", "a wav file", "audio"),
    (0, b"riff", "a w64 file", "audio"),
    (0, b"fLaC", "a flac file", "audio"),
    (0, b"OggS", "an ogg file", "audio"),
    (0, b"ID3", "an mp3 file", "audio"),
    *[(0, bytes([255, second]), "an mp3 file", "audio") for second in (0xFB, 0xFA, 0xF3, 0xF2)],
    *[(0, bytes([255, second]), "an AAC file", "foreign audio") for second in (0xF1, 0xF9)],
    (0, b"FORM", "an aiff file", "audio"),
    (0, b"caff", "a caf file", "audio"),
    (0, b".snd", "an au file", "audio"),
    (4, b"ftyp", "an MP4 file (m4a)", "foreign audio"),
    (0, b"\x1a\x45\xdf\xa3", "a WebM or Matroska file", "foreign audio"),
    (0, bytes.fromhex("3026b2758e66cf11"), "a WMA file", "foreign audio"),
    (0, b"#!AMR", "an AMR file", "foreign audio"),
    (0, b"\x89PNG", "a PNG picture", "picture"),
    (0, b"\xff\xd8\xff", "a JPEG picture", "picture"),
    (0, b"GIF8", "a GIF picture", "picture"),
    (0, b"II*\0", "a TIFF picture", "picture"),
    (0, b"MM\0*", "a TIFF picture", "picture"),
    (0, b"%PDF", "a PDF", "picture"),
    (0, b"\x1f\x8b", "a gzip file", "gzip"),
    (0, b"BZh", "a bzip2 file", "packed"),
    (0, b"\xfd7zXZ", "an xz file", "packed"),
    (0, b"\x28\xb5\x2f\xfd", "a zstd file", "packed"),
    (0, b"\x04\x22\x4d\x18", "an lz4 file", "packed"),
    (0, b"7z\xbc\xaf", "a 7z file", "packed"),
    (0, b"Rar!", "a rar file", "packed"),
    (257, b"ustar", "a tar file", "packed"),
    (0, bytes.fromhex("80028a0a6cfc9c46f920"), "a PyTorch file (.pt)", "torch"),
    *[(0, bytes([0x80, version]), "a pickle", "pickle") for version in (2, 3, 4, 5)],
    (0, b"\x89HDF\r\n", "an HDF5 file", "data"),
    (0, b"CDF", "a NetCDF file", "data"),
    (0, b"MATLAB ", "a MATLAB file (.mat)", "data"),
    (0, b"PAR1", "a Parquet file", "data"),
    (0, b"ARROW1", "an Arrow file", "data"),
    (0, b"SQLite format 3", "an SQLite file", "data"),
    (0, b"\0BFM ", "a Kaldi matrix", "data"),
    (0, b"GGUF", "a GGUF file", "data"),
]
# A zip file's first member tells a model of PyTorch from arrays of numpy.
_ZIP, _ZIP_START = b"PK", 256
_TEXT_START = 1024


def recognise(data: bytes) -> tuple[str, str] | None:
    """Name the format of a file.

    Parameters
    ----------
    data
        Content of the file.

    Returns
    -------
    The format in words, and its kind; None for bytes of no known format.

    """
    for place, magic, name, kind in _SIGNATURES:
        if data.startswith(magic, place):
            return name, kind
    if data.startswith(_ZIP):
        start = data[:_ZIP_START]
        if b"data.pkl" in start or b".data/" in start or b"/version" in start:
            return "a PyTorch file (.pt)", "torch"
        return ("an npz file", "npz") if b".npy" in start else ("a zip archive", "packed")
    if data[8:9] == b"{" and int.from_bytes(data[:8], "little") <= len(data):
        return "a safetensors file", "safetensors"
    return _text(data)


def _text(data: bytes) -> tuple[str, str] | None:
    try:
        start = data[:_TEXT_START].decode("utf-8-sig")
    except UnicodeDecodeError as error:
        if error.start < min(_TEXT_START, len(data)) - 3:  # not a character that was cut
            return None
        start = data[: error.start].decode("utf-8-sig")
    words = start.lstrip()
    if not words or not all(char.isprintable() or char.isspace() for char in start):
        return None
    if words[0] == "{" or (words[0] == "[" and "," in words):  # a printed array has no comma
        return "JSON", "json"
    if words[0] == "<":
        return "HTML or XML", "text"
    return ("text with commas (CSV)" if "," in words else "text"), "text"


def unreadable_array(field: str, data: bytes, want: str) -> Unreadable:
    """Make the refusal of a file that should have held arrays.

    Parameters
    ----------
    field
        Name of the array.
    data
        Content of the file.
    want
        What would do where the format is not known.

    """
    if not data:
        return Unreadable(field, "nothing, an empty body", want)
    known = recognise(data)
    if known is None:
        return Unreadable(field, f"{len(data)} bytes of no known format", want)
    name, kind = known
    return Unreadable(field, name, _WAYS[kind])


def unreadable_audio(data: bytes) -> Unreadable:
    """Make the refusal of a file that no decoder can read.

    Parameters
    ----------
    data
        Content of the file.

    """
    name, kind = recognise(data) or (f"{len(data)} bytes of no known format", "")
    if not data:
        name = "nothing, an empty body"
    want = _AUDIO_WANTED
    if kind == "audio":
        name, want = f"{name} that no decoder can read", f"a whole file: {want}"
    elif kind == "foreign audio":
        want += ", such as ffmpeg makes of this one"
    elif kind in _ARRAYS:
        want += "; POST /reconstruct takes mels"
    return Unreadable("audio", name, want)
