"""What the site holds beside this folder: the README, the worked plans, and the schemas that pages link to.

In the repository those links lead out of `docs/`; in the site they lead to copies within it.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from mkdocs.structure.files import File

if TYPE_CHECKING:
    from mkdocs.config.defaults import MkDocsConfig
    from mkdocs.structure.files import Files
    from mkdocs.structure.pages import Page

ROOT = Path(__file__).resolve().parents[1]
_ABOVE = {"readme.md": "README.md", "changelog.md": "CHANGELOG.md", "LICENSE.txt": "LICENSE"}


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the files that lie elsewhere."""
    for path in (*sorted((ROOT / "plans").iterdir()), *sorted((ROOT / "schemas").iterdir())):
        files.append(File.generated(config, path.relative_to(ROOT).as_posix(), abs_src_path=str(path)))
    for name, source in _ABOVE.items():
        files.append(File.generated(config, name, abs_src_path=str(ROOT / source)))
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:  # noqa: ARG001 - as called
    """Let links that led out of `docs/`, or from the README into it, lead to what the site holds."""
    up = "../" * page.file.src_uri.count("/")
    if page.file.src_uri in _ABOVE:
        markdown = markdown.replace("](CHANGELOG.md)", "](changelog.md)").replace("](LICENSE)", "](LICENSE.txt)")
        return markdown.replace("](docs/", "](")
    markdown = markdown.replace(f"]({up}../README.md", f"]({up}readme.md")
    for folder in ("plans", "schemas"):
        markdown = markdown.replace(f"]({up}../{folder}/", f"]({up}{folder}/")
    return markdown
