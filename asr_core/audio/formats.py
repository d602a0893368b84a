"""The formats of recordings that can be read, and the suffixes of their files."""

# FFmpeg's name of a container -> suffixes of its files. Formats that make FFmpeg open further files, playlists above
# all, are missing on purpose.
FORMATS = {
    "wav": ".wav .wave .bwf .rf64",
    "w64": ".w64",
    "aiff": ".aif .aiff .aifc",
    "au": ".au .snd",
    "caf": ".caf",
    "voc": ".voc",
    "nistsphere": ".sph .nist",
    "flac": ".flac",
    "wv": ".wv",
    "tta": ".tta",
    "ape": ".ape",
    "tak": ".tak",
    "mp3": ".mp3 .mp2 .mpga .m2a",
    "mpc": ".mpc",
    "mpc8": ".mpc",
    "aac": ".aac .adts",
    "loas": ".loas .latm",
    "ac3": ".ac3",
    "eac3": ".eac3 .ec3",
    "dts": ".dts",
    "dtshd": ".dtshd",
    "truehd": ".thd",
    "mlp": ".mlp",
    "amr": ".amr .awb",
    "qcp": ".qcp",
    "dsf": ".dsf",
    "oma": ".oma",
    "ogg": ".ogg .oga .ogv .ogx .opus .spx",
    "mov": ".mov .mp4 .m4a .m4b .m4r .m4v .3gp .3gpp .3ga .3g2 .f4v .f4a .qt",
    "matroska": ".mkv .mka .webm .weba",
    "asf": ".asf .wma .wmv",
    "avi": ".avi .divx",
    "flv": ".flv",
    "rm": ".rm .ra .rmvb",
    "mpegts": ".ts .mts .m2ts",
    "mpeg": ".mpg .mpeg .vob",
    "mxf": ".mxf",
}
AUDIO_SUFFIXES = frozenset(" ".join(FORMATS.values()).split())
COMMON = ".wav .flac .mp3 .ogg .opus .m4a .aac .mp4 .webm".split()
READABLE = (
    f"{', '.join(suffix[1:] for suffix in COMMON)} and {len(AUDIO_SUFFIXES) - len(COMMON)} more kinds can be read"
)
