"""Writes files into a C source: embed.py HEADER OUT NAME=FILE ... makes NAME[] and NAME_size of each."""
import sys

header, out, *pairs = sys.argv[1:]
with open(out, "w", encoding="ascii") as source:
    source.write(f'#include "{header}"\n')
    for pair in pairs:
        name, path = pair.split("=", 1)
        with open(path, "rb") as file:
            data = file.read()
        source.write(f"\nconst size_t {name}_size = {len(data)};\nconst unsigned char {name}[] = {{\n")
        for at in range(0, len(data), 24):
            source.write("".join(f"{byte}," for byte in data[at : at + 24]) + "\n")
        source.write("};\n")
