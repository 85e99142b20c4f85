"""Sound: samples as they are in the file."""

from __future__ import annotations

import math
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
from encord.objects import OntologyStructure, Shape
from encord.objects.coordinates import AudioCoordinates, BoundingBoxCoordinates
from encord.objects.frames import Range
from tests import films

from encord_agents.core.audio import Sound, read_audio
from encord_agents.exceptions import PrintableError, UnsupportedAssetError


def tone(seconds: float = 1.0, rate: int = 8000, channels: int = 2) -> Sound:
    times = np.arange(round(seconds * rate)) / rate
    return Sound(np.stack([np.sin(2 * math.pi * 440 * times) / (n + 2) for n in range(channels)]).astype("f4"), rate)


@pytest.mark.parametrize("channels", [1, 2])
def test_there_and_back(tmp_path: Path, channels: int) -> None:
    """A WAV file has the same samples, to 16 bits."""
    sound = tone(channels=channels)
    path = tmp_path / "a.wav"
    path.write_bytes(sound.wav())
    found = read_audio(path)
    assert (found.rate, found.waveform.shape, found.waveform.dtype) == (8000, (channels, 8000), np.float32)
    assert np.abs(found.waveform - sound.waveform).max() < 1e-4
    assert found.seconds == 1.0


@pytest.mark.parametrize("channels", [1, 2, 5])
def test_memory(tmp_path: Path, channels: int) -> None:
    """Sound is in memory once, but for one channel while they are put together; a WAV file is made of small parts."""
    path = tmp_path / "a.wav"
    path.write_bytes(tone(20, 44100, channels).wav())
    read_audio(path)  # whatever is imported for it
    tracemalloc.start()
    try:
        sound = read_audio(path)
        size = sound.waveform.nbytes
        assert tracemalloc.get_traced_memory()[1] < 1.2 * size * (1 if channels == 1 else 1 + 1 / channels)
        tracemalloc.reset_peak()
        wav = sound.wav()
        assert tracemalloc.get_traced_memory()[1] < size + 1.2 * len(wav) + (4 << 20)
    finally:
        tracemalloc.stop()
    assert sound.waveform.shape == (channels, 20 * 44100)
    assert sound.waveform.flags.writeable
    before = path.read_bytes()
    assert (len(wav), wav[:44]) == (len(before), before[:44])
    assert np.abs(np.frombuffer(wav, "<i2", offset=44) - np.frombuffer(before, "<i2", offset=44)).max() <= 1


def test_another_rate_and_one_channel(tmp_path: Path) -> None:
    """For models that want them."""
    path = tmp_path / "a.wav"
    path.write_bytes(tone().wav())
    found = read_audio(path, rate=16000, mono=True)
    assert found.rate == 16000
    assert found.waveform.shape[0] == 1
    assert abs(found.waveform.shape[1] - 16000) < 100


def test_the_mean_of_all_channels(tmp_path: Path) -> None:
    """One channel of a loud file is as loud as the file, so that `Sound.wav` cuts nothing off."""
    loud = np.tile(np.float32(0.95) * np.sin(np.arange(8000, dtype=np.float32) / 9), (2, 1))
    path = tmp_path / "a.wav"
    path.write_bytes(Sound(loud, 8000).wav())
    assert np.abs(read_audio(path, mono=True).waveform - loud[:1]).max() < 1e-4


@pytest.mark.parametrize("channels", [3, 8, 9, 16, 40])
@pytest.mark.parametrize("rate", [None, 4000])
def test_many_channels(tmp_path: Path, channels: int, rate: int | None) -> None:
    """Each of the channels of an array of microphones is there, in the file's order."""
    levels = (np.arange(channels, dtype=np.float32) + 1) / 50
    path = tmp_path / "a.wav"
    tone = np.concatenate([np.sin(np.arange(4000)), np.ones(4000)]).astype(np.float32)  # FFmpeg 9 knows no flat sound
    path.write_bytes(Sound(levels[:, None] * tone, 8000).wav())
    found, flat = read_audio(path, rate=rate), (rate or 8000) * 3 // 4
    assert found.waveform.shape == (channels, rate or 8000)
    assert found.waveform.flags.c_contiguous
    assert np.abs(found.waveform[:, flat] - levels).max() < 1e-3
    assert np.abs(read_audio(path, rate=rate, mono=True).waveform[:, flat] - levels.mean()).max() < 1e-3


def test_of_a_film_with_sound_alone(tmp_path: Path) -> None:
    """Of any container that PyAV reads."""
    assert read_audio(films.sound(tmp_path / "a.m4a")).rate == 44100


@pytest.mark.parametrize("rate", [None, 16000])
def test_files_that_were_joined(tmp_path: Path, rate: int | None) -> None:
    """Where rate and channels change in the middle, all of it is read, with those of the beginning."""
    path = tmp_path / "a.aac"
    path.write_bytes(
        b"".join(
            films.spoken(tmp_path / f"{of}-{channels}.aac", of, channels).read_bytes()
            for of, channels in ((44100, 1), (22050, 2), (44100, 1))
        )
    )
    found = read_audio(path, rate=rate)
    assert (found.rate, found.waveform.shape[0]) == (rate or 44100, 1)
    assert 2.9 < found.seconds < 3.3


def test_a_part_with_more_channels(tmp_path: Path) -> None:
    """It is mixed down to those of the beginning, and is no louder than before."""
    path = tmp_path / "a.aac"
    parts = [films.spoken(tmp_path / f"{channels}.aac", 44100, channels, loud=True) for channels in (1, 2)]
    path.write_bytes(b"".join(part.read_bytes() for part in parts))
    one, both = read_audio(parts[0]).waveform, read_audio(path).waveform
    assert both.shape[0] == 1
    assert both.shape[1] > 1.9 * one.shape[1]
    assert np.abs(both).max() < 1.02 * np.abs(one).max()


def test_streams_that_appear_in_the_middle(tmp_path: Path) -> None:
    """All of the sound is read of a file in which pictures begin long after it."""
    path = films.late_film(tmp_path / "a.flv", seconds=60)
    assert read_audio(path, mono=True).seconds == 60


def test_a_name_with_a_colon(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A relative path is a path, whatever the name; one that leads nowhere is an error of its own."""
    monkeypatch.chdir(tmp_path)
    path = Path("2024-05-01T12:30:00.wav")
    path.write_bytes(tone().wav())
    assert read_audio(path).seconds == 1.0
    with pytest.raises(FileNotFoundError):
        read_audio(Path("none.wav"))


def test_what_has_no_sound(tmp_path: Path) -> None:
    """It is refused by its name."""
    with pytest.raises(UnsupportedAssetError, match="'holiday' has no sound"):
        read_audio(films.film(tmp_path / "a.mp4", 3), name="holiday")
    (tmp_path / "b").write_bytes(b"no sound at all")
    with pytest.raises(UnsupportedAssetError, match="'b' cannot be read as sound"):
        read_audio(tmp_path / "b")


def test_parts_of_it() -> None:
    """By seconds, as far as there are any; by the ranges of a labelled region, in milliseconds."""
    sound = tone()
    assert sound.between(0.25, 0.5).waveform.shape == (2, 2000)
    assert sound.between(-1, 9).waveform.shape == (2, 8000)
    assert sound.between(2, 3).waveform.shape == (2, 0)
    structure = OntologyStructure()
    region = structure.add_object("Speech", Shape.AUDIO).create_instance()
    region.set_for_frames(AudioCoordinates(range=[Range(0, 100), Range(500, 1000)]))
    assert [crop.waveform.shape[1] for crop in sound.crops(region)] == [800, 4000]
    box = structure.add_object("Box", Shape.BOUNDING_BOX).create_instance()
    box.set_for_frames(BoundingBoxCoordinates(height=0.1, width=0.1, top_left_x=0, top_left_y=0))
    with pytest.raises(PrintableError, match="'Box'"):
        sound.crops(box)
