"""Where the tree is, and the files in it that are ours."""
import os

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))


def sources(*suffixes):
    """Paths from the root of the files with one of these endings, sorted; build folders and hidden ones left out."""
    found = []
    for folder, folders, files in os.walk(ROOT):
        top = folder == ROOT
        folders[:] = [f for f in folders if f[0] != "." and f != "__pycache__" and not (top and f.startswith("build"))]
        found += [os.path.relpath(os.path.join(folder, f), ROOT) for f in files if f.endswith(suffixes)]
    return sorted(found)
