"""One file at a time: every way of storing the same sound gives the same numbers."""

from __future__ import annotations

import struct
import wave
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.io import wavfile

from objectives.audio_angle.wav import read_wav, resample

SINE = 0.5 * np.sin(2 * np.pi * 440 * np.arange(4000) / 8000)


def write_pcm(path: Path, values: NDArray[Any], width: int, rate: int = 8000) -> None:
    """Little-endian PCM of `width` bytes by the standard library, (n,) or (n, channels) integers."""
    sound = np.atleast_2d(values.T).T
    with wave.open(str(path), "wb") as file:
        file.setnchannels(sound.shape[1])
        file.setsampwidth(width)
        file.setframerate(rate)
        as_bytes = sound.astype("<i8").reshape(-1, 1).view(np.uint8)[:, :width]
        file.writeframes(as_bytes.tobytes())


@pytest.mark.parametrize(("width", "offset"), [(1, 128), (2, 0), (3, 0), (4, 0)])
def test_pcm_of_all_widths_has_full_scale_1(tmp_path: Path, width: int, offset: int) -> None:
    full = 2 ** (8 * width - 1)
    write_pcm(tmp_path / "a.wav", np.round(SINE * full).astype(np.int64) + offset, width)
    sound, rate = read_wav(tmp_path / "a.wav")
    assert rate == 8000
    np.testing.assert_allclose(sound, SINE, atol=0.51 / full)


def test_extremes_of_the_scale(tmp_path: Path) -> None:
    for width, low, high in ((1, 0, 255), (2, -32768, 32767), (3, -(2**23), 2**23 - 1)):
        write_pcm(tmp_path / "a.wav", np.array([low, high]), width)
        assert read_wav(tmp_path / "a.wav")[0].tolist() == [-1.0, 1 - 2.0 ** (1 - 8 * width)]


@pytest.mark.parametrize("kind", [np.float32, np.float64])
def test_floats_stay_as_they_are(tmp_path: Path, kind: type) -> None:
    wavfile.write(tmp_path / "a.wav", 44100, (3 * SINE).astype(kind))
    sound, rate = read_wav(tmp_path / "a.wav")
    assert rate == 44100
    np.testing.assert_array_equal(sound, (3 * SINE).astype(kind).astype(np.float64))


def test_channels_are_averaged(tmp_path: Path) -> None:
    both = np.stack([np.array([100, 200, -300]), np.array([300, -200, -100])], axis=1)
    write_pcm(tmp_path / "a.wav", both, 2)
    assert (read_wav(tmp_path / "a.wav")[0] * 32768).tolist() == [200, 0, -200]


def test_chunks_that_are_not_sound_are_passed_over(tmp_path: Path) -> None:
    write_pcm(tmp_path / "a.wav", np.array([1, 2, 3, 4]), 2)
    plain = (tmp_path / "a.wav").read_bytes()
    odd = b"bext" + struct.pack("<I", 4) + b"note"
    (tmp_path / "b.wav").write_bytes(plain[:36] + odd + plain[36:])
    assert (read_wav(tmp_path / "b.wav")[0] * 32768).tolist() == [1, 2, 3, 4]


@pytest.mark.parametrize(("rate", "to"), [(8000, 16000), (44100, 16000), (48000, 44100), (8000, 8000), (11025, 8000)])
def test_resampling_keeps_a_tone(rate: int, to: int) -> None:
    def tone(each: int) -> NDArray[np.float64]:
        sound: NDArray[np.float64] = np.sin(2 * np.pi * 440 * np.arange(each // 2) / each)
        return sound

    changed = resample(tone(rate), rate, to)
    assert len(changed) == -(-(rate // 2) * to // rate)
    inner = slice(to // 50, to // 2 - to // 50)  # the filter sees silence beyond the ends
    np.testing.assert_allclose(changed[inner], tone(to)[inner], atol=0.01)


@pytest.mark.parametrize("end", [0, 3, 10, 20, 30, 44, 1000, 8043])
def test_a_file_that_was_cut_short(tmp_path: Path, end: int) -> None:
    write_pcm(tmp_path / "a.wav", np.round(SINE * 32768), 2)
    whole = (tmp_path / "a.wav").read_bytes()
    assert len(whole) == 8044
    (tmp_path / "b.wav").write_bytes(whole[:end])
    with pytest.raises(ValueError, match=r"b\.wav cannot be read as wav \(.+\); expected a whole file of PCM"):
        read_wav(tmp_path / "b.wav")


def test_what_is_no_wav(tmp_path: Path) -> None:
    (tmp_path / "a.wav").write_bytes(b"ID3 this is another kind of sound" * 9)
    with pytest.raises(ValueError, match=r"a\.wav cannot be read as wav \(File format b'ID3 ' not understood"):
        read_wav(tmp_path / "a.wav")
    write_pcm(tmp_path / "b.wav", np.arange(100), 2)
    raw = bytearray((tmp_path / "b.wav").read_bytes())
    raw[20:22] = struct.pack("<H", 7)
    (tmp_path / "b.wav").write_bytes(raw)
    with pytest.raises(ValueError, match=r"b\.wav cannot be read as wav \(Unknown wave file format: MULAW"):
        read_wav(tmp_path / "b.wav")
    with pytest.raises(ValueError, match=r"c\.wav cannot be read as wav \(.*No such file"):
        read_wav(tmp_path / "c.wav")


def test_no_rate(tmp_path: Path) -> None:
    write_pcm(tmp_path / "a.wav", np.arange(100), 2)
    raw = bytearray((tmp_path / "a.wav").read_bytes())
    raw[24:32] = bytes(8)  # samples and bytes a second
    (tmp_path / "a.wav").write_bytes(raw)
    with pytest.raises(ValueError, match=r"a\.wav has a sampling rate of 0 Hz; expected more than 0"):
        read_wav(tmp_path / "a.wav")


def test_numbers_that_are_none(tmp_path: Path) -> None:
    broken = SINE.astype(np.float32)
    broken[[5, 7]] = np.nan, np.inf
    wavfile.write(tmp_path / "a.wav", 8000, broken)
    with pytest.raises(ValueError, match=r"a\.wav has 2 samples that are NaN or infinite; expected none"):
        read_wav(tmp_path / "a.wav")


@pytest.mark.parametrize("value", [0, 77])
def test_silence(tmp_path: Path, value: int) -> None:
    write_pcm(tmp_path / "a.wav", np.full(500, value), 2)
    with pytest.raises(ValueError, match=r"a\.wav is silent throughout; expected a sound, or the file left out"):
        read_wav(tmp_path / "a.wav")


def test_channels_that_cancel(tmp_path: Path) -> None:
    write_pcm(tmp_path / "a.wav", np.stack([np.arange(500), -np.arange(500)], axis=1), 2)
    with pytest.raises(ValueError, match=r"a\.wav is silent throughout once its 2 channels are mixed"):
        read_wav(tmp_path / "a.wav")
