"""Instruments from General MIDI soundfonts: notes and short phrases, played by `fluidsynth`.

Each becomes a file, named as a user would name it. The recipe of atri-mini learns from the fonts
of `LEARNT`; `benchmarks.finetuned` searches the notes of another one.
"""

from __future__ import annotations

import shutil
import struct
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import soundfile

from atri_cli.errors import AtriError, RuntimeMissingError

RATE = 44_100
SLOT, HELD = 4.0, 2.5  # seconds from note to note, and until it is let go
DRUMS = 9  # the MIDI channel of percussion
QUIET = 0.003  # of the peak: where a note has died away

# Program, name, concept of the vocabulary.
MELODIC = """
0 Grand Piano=grand_piano; 3 Honky Tonk Piano=honky_tonk_piano; 4 Electric Piano=electric_piano;
6 Harpsichord=harpsichord; 7 Clavinet=clavinet; 8 Celesta=celesta; 9 Glockenspiel=glockenspiel;
10 Music Box=music_box; 11 Vibraphone=vibraphone; 12 Marimba=marimba; 13 Xylophone=xylophone;
14 Tubular Bells=tubular_bells; 15 Hammered Dulcimer=hammered_dulcimer;
16 Hammond Organ=hammond_organ; 19 Church Organ=church_organ; 21 Accordion=accordion;
22 Harmonica=harmonica; 23 Bandoneon=bandoneon; 24 Classical Guitar=nylon_guitar;
25 Acoustic Guitar=acoustic_guitar; 26 Jazz Guitar=jazz_guitar; 27 Electric Guitar=electric_guitar;
28 Palm-muted Guitar=muted_guitar; 30 Distorted Guitar=distorted_guitar;
31 Guitar Harmonics=guitar_harmonics; 32 Double Bass=double_bass; 33 Bass Guitar=bass_guitar;
35 Fretless Bass=fretless_bass; 36 Slap Bass=slap_bass; 38 Synth Bass=synth_bass; 40 Violin=violin;
41 Viola=viola; 42 Cello=cello; 44 Tremolo Strings=tremolo_strings;
45 Pizzicato Strings=pizzicato; 46 Harp=harp; 47 Timpani=timpani; 48 String Section=string_ensemble;
50 Synth Strings=synth_strings; 52 Choir=choir; 55 Orchestra Hit=orchestra_hit; 56 Trumpet=trumpet;
57 Trombone=trombone; 58 Tuba=tuba; 59 Muted Trumpet=muted_trumpet; 60 French Horn=french_horn;
61 Brass Section=brass_section; 62 Synth Brass=synth_brass; 64 Soprano Saxophone=soprano_sax;
65 Alto Saxophone=alto_sax; 66 Tenor Saxophone=tenor_sax; 67 Baritone Saxophone=baritone_sax;
68 Oboe=oboe; 69 English Horn=english_horn; 70 Bassoon=bassoon; 71 Clarinet=clarinet;
72 Piccolo=piccolo; 73 Flute=flute; 75 Pan Flute=pan_flute;
77 Shakuhachi=shakuhachi; 79 Ocarina=ocarina; 80 Synth Lead=synth_lead; 89 Synth Pad=synth_pad;
104 Sitar=sitar; 105 Banjo=banjo; 106 Shamisen=shamisen; 107 Koto=koto; 108 Kalimba=kalimba;
109 Bagpipes=bagpipes; 110 Folk Fiddle=fiddle; 114 Steel Drum=steel_drum; 116 Taiko Drum=taiko
"""
# Key, name, concept.
PERCUSSION = """
36 Kick Drum=kick_drum; 37 Side Stick=side_stick; 38 Snare Drum=snare_drum; 41 Floor Tom=floor_tom;
42 Closed Hi-Hat=hi_hat_closed; 46 Open Hi-Hat=hi_hat_open; 49 Crash Cymbal=crash_cymbal;
50 High Tom=high_tom; 51 Ride Cymbal=ride_cymbal; 52 China Cymbal=china_cymbal;
53 Ride Bell=ride_bell; 54 Tambourine=tambourine; 55 Splash Cymbal=splash_cymbal;
56 Cowbell=cowbell_instrument; 58 Vibraslap=vibraslap; 60 Bongo=bongo; 63 Conga=conga;
65 Timbales=timbales_latin; 67 Agogo Bells=agogo; 69 Cabasa=cabasa; 70 Maracas=maracas;
74 Guiro=guiro; 75 Claves=claves; 76 Wood Block=wood_block; 79 Cuica=cuica; 81 Triangle=triangle
"""
# Package and place in it of the soundfonts that the recipe learns from.
LEARNT = (
    ("fluid-soundfont-gm", "usr/share/sounds/sf2/FluidR3_GM.sf2"),
    ("musescore-general-soundfont-small", "usr/share/sounds/sf3/MuseScore_General_Lite.sf3"),
)
KEYS, VELOCITIES = (41, 48, 55, 60, 67, 74, 81), (45, 80, 115)
NOTES = ("C", "C#", "D", "D#", "E", "F", "F#", "G", "G#", "A", "A#", "B")
DYNAMICS = {45: "piano", 80: "mezzoforte", 115: "forte"}
# Semitones above the first key, one after the other; a lone 0 is a single note.
PHRASES = ((0,), (0, 4, 7, 12, 7, 4), (0, 2, 4, 5, 7, 5, 4, 2, 0), (7, 5, 3, 0))
STRIKES = ((0,), (0,) * 3, (0,) * 6, (0,) * 10)


@dataclass(frozen=True)
class Note:
    """A note or phrase: MIDI channel, program, first key, velocity; what plays, what it names."""

    channel: int
    program: int
    key: int
    velocity: int
    name: str
    concept: str
    steps: tuple[int, ...] = (0,)

    @property
    def file(self) -> str:
        """As a user would call it: `Marimba C4 forte.wav`; a phrase also says its length."""
        pitch = "" if self.channel == DRUMS else f" {NOTES[self.key % 12]}{self.key // 12 - 1}"
        phrase = f" phrase of {len(self.steps)}" if len(self.steps) > 1 else ""
        return f"{self.name}{pitch} {DYNAMICS[self.velocity]}{phrase}.wav"


def lesson(font: Path) -> list[Note]:
    """What a model learns from a soundfont: every key as a note, and phrases in between."""
    played = notes(font, KEYS, VELOCITIES)
    melodic = [note for note in played if note.channel != DRUMS]
    drums = [note for note in played if note.channel == DRUMS]
    phrases = [
        replace(note, steps=PHRASES[1 + turn % (len(PHRASES) - 1)])
        for turn, note in enumerate(melodic)
    ]
    return melodic + phrases + [replace(note, steps=s) for note in drums for s in STRIKES]


def notes(font: Path, keys: Sequence[int], velocities: Sequence[int]) -> list[Note]:
    """What a soundfont has of the instruments: each melodic one at each key, in turns of velocity.

    Percussion is played at each velocity.
    """
    there = presets(font)
    found = [
        Note(0, program, key, velocities[turn % len(velocities)], name, concept)
        for program, name, concept in _table(MELODIC)
        if (0, program) in there
        for turn, key in enumerate(keys)
    ]
    if any(bank == 128 for bank, _ in there):
        found += [
            Note(DRUMS, 0, key, velocity, name, concept)
            for key, name, concept in _table(PERCUSSION)
            for velocity in velocities
        ]
    return found


def _table(text: str) -> Iterator[tuple[int, str, str]]:
    for entry in " ".join(text.split()).split(";"):
        said, _, concept = entry.strip().partition("=")
        number, _, name = said.partition(" ")
        yield int(number), name, concept


def presets(font: Path) -> set[tuple[int, int]]:
    """(bank, program) of the presets of a soundfont (SF2, chunk `phdr`: 38 bytes a preset)."""
    data = font.read_bytes()
    start = data.rindex(b"phdr") + 8
    size = int.from_bytes(data[start - 4 : start], "little")
    records = (data[at : at + 38] for at in range(start, start + size - 38, 38))
    return {struct.unpack("<HH", one[20:24])[::-1] for one in records}


def render(font: Path, wanted: Sequence[Note], folder: Path) -> list[tuple[Path, Note]]:
    """Play notes into files of mono WAV, each from its beginning until it has died away.

    Returns:
        File and note; what the soundfont leaves silent is left out.

    Raises:
        RuntimeMissingError: `fluidsynth` is not installed.
        AtriError: it fails.
    """
    program = shutil.which("fluidsynth")
    if program is None:
        raise RuntimeMissingError("`fluidsynth` is missing.", hint="`apt-get install fluidsynth`.")
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as work:
        score, played = Path(work) / "notes.mid", Path(work) / "notes.wav"
        score.write_bytes(midi(wanted))
        plain = ["-ni", "-q", "-R", "0", "-C", "0", "-g", "0.5", "-r", str(RATE), "-F", str(played)]
        done = subprocess.run(
            [program, *plain, str(font), str(score)], check=False, capture_output=True
        )
        if done.returncode or not played.exists():
            raise AtriError(f"`fluidsynth` cannot play `{font}`.", why=done.stderr.decode()[-300:])
        wave = soundfile.read(played, dtype="float32", always_2d=True)[0].mean(axis=1)
    found = []
    for place, note in enumerate(wanted):
        one = wave[round(place * SLOT * RATE) : round((place + 1) * SLOT * RATE)]
        loud = np.abs(one)
        if loud.size and loud.max() > 1e-3:
            end = int(np.flatnonzero(loud > QUIET * loud.max())[-1]) + 1
            path = folder / note.file
            soundfile.write(path, 0.7 * one[:end] / loud.max(), RATE, "PCM_16")
            found.append((path, note))
    return found


def midi(wanted: Sequence[Note]) -> bytes:
    """A MIDI file of one track, a note every `SLOT` seconds; a tick is a millisecond."""
    events = [(0, bytes((0xFF, 0x51, 3, 0x0F, 0x42, 0x40)))]  # a second a quarter
    for place, note in enumerate(wanted):
        start = round(place * SLOT * 1000)
        events.append((start, bytes((0xC0 | note.channel, note.program))))
        for turn, step in enumerate(note.steps):
            on, off = (round(start + HELD * 1000 * at / len(note.steps)) for at in (turn, turn + 1))
            events.append((on, bytes((0x90 | note.channel, note.key + step, note.velocity))))
            events.append((off, bytes((0x80 | note.channel, note.key + step, 0))))
        events.append((start + round(SLOT * 1000) - 20, bytes((0xB0 | note.channel, 120, 0))))
    track, now = b"", 0
    for at, event in [*events, (events[-1][0] + 20, bytes((0xFF, 0x2F, 0)))]:
        track += _length(at - now) + event
        now = at
    head = struct.pack(">4sIHHH", b"MThd", 6, 0, 1, 1000)
    return head + struct.pack(">4sI", b"MTrk", len(track)) + track


def _length(ticks: int) -> bytes:
    """A number in groups of 7 bits, all but the last marked."""
    found = bytes([ticks & 0x7F])
    while ticks := ticks >> 7:
        found = bytes([0x80 | ticks & 0x7F]) + found
    return found
