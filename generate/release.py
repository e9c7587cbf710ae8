"""What a release publishes beside its images: a chart and an install.yaml that name those images.

`python -m generate.release --registry R --source URL --tag vX.Y.Z FOLDER` writes both into FOLDER. The images are
R/clickstream-operator and R/clickstream-apps; the chart's place is R/charts. A checkout names images that are built
where they run, and no owner: R, and the URL of the repository on its forge, come from whoever releases.
"""

from __future__ import annotations

import argparse
import shutil
import sys
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final

import yaml

from generate import CHART, ROOT
from generate.install import helm, install_manifest

_IMAGES: Final = {"image": "clickstream-operator", "appsImage": "clickstream-apps"}
_EXAMPLE: Final = ROOT / "manifests" / "examples" / "minimal.yaml"
_PLATFORMS: Final = ("linux/amd64", "linux/arm64")


def main(arguments: list[str]) -> int:
    """Exit status 0, or 1 when the tag is not the version that the chart has."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n\n")[2])
    parser.add_argument("--registry", required=True, help="where images and charts are published, owner included")
    parser.add_argument("--source", required=True, help="URL of the repository, for the chart's metadata")
    parser.add_argument("--tag", required=True, help="the git tag: v and the chart's version")
    parser.add_argument("folder", type=Path)
    given = parser.parse_args(arguments)
    chart = yaml.safe_load((CHART / "Chart.yaml").read_text())
    if given.tag != f"v{chart['version']}" or chart["version"] != chart["appVersion"]:
        sys.stderr.write(
            f"the tag {given.tag} is not v and the version of charts/clickstream/Chart.yaml ({chart['version']}, "
            f"appVersion {chart['appVersion']}): set the version there and in pyproject.toml first\n"
        )
        return 1
    given.folder.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory() as name:
        copy = Path(name) / CHART.name
        published_chart(copy, given.registry.lower(), given.source)
        helm("package", str(copy), "--destination", str(given.folder))
        (given.folder / "install.yaml").write_text(install_manifest(copy))
    return 0


def published_chart(copy: Path, registry: str, source: str) -> None:
    """Write the chart into the folder `copy`, with the published images and the metadata that catalogues show."""
    shutil.copytree(CHART, copy)
    values = (copy / "values.yaml").read_text()
    for name in _IMAGES.values():
        values = _replaced(values, f"  repository: {name}\n", f"  repository: {registry}/{name}\n")
    (copy / "values.yaml").write_text(values)
    readme = (copy / "README.md").read_text()
    readme = _replaced(readme, "oci://ghcr.io/OWNER/charts/clickstream", f"oci://{registry}/charts/clickstream")
    readme = _replaced(readme, "OWNER is whose GitHub project published it. ", "")
    file = copy / "Chart.yaml"
    chart = yaml.safe_load(file.read_text())
    pages = f"{source}/blob/v{chart['version']}/"
    (copy / "README.md").write_text(readme.replace("](../../", f"]({pages}"))
    file.write_text(yaml.safe_dump(_metadata(chart, registry, source, pages), sort_keys=False))


def _metadata(chart: dict[str, Any], registry: str, source: str, pages: str) -> dict[str, Any]:
    example = [one for one in yaml.safe_load_all(_EXAMPLE.read_text()) if one["kind"] == "ClickstreamPipeline"]
    images = [
        {"name": name, "image": f"{registry}/{name}:{chart['version']}", "platforms": [*_PLATFORMS]}
        for name in _IMAGES.values()
    ]
    links = [
        {"name": title, "url": pages + page}
        for title, page in (
            ("Installing", "docs/install.md"),
            ("Every field of a pipeline", "docs/pipeline-reference.md"),
            ("Operations", "docs/operations.md"),
            ("Changes", "CHANGELOG.md"),
        )
    ]
    annotations = {
        "artifacthub.io/images": yaml.safe_dump(images, sort_keys=False),
        "artifacthub.io/crdsExamples": yaml.safe_dump(example, sort_keys=False),
        "artifacthub.io/links": yaml.safe_dump(links, sort_keys=False),
        "artifacthub.io/prerelease": str("-" in chart["version"]).lower(),
    }
    return chart | {
        "home": source,
        "sources": [source],
        "icon": pages.replace("/blob/", "/raw/") + "charts/clickstream/icon.svg",
        "maintainers": [{"name": maintainer["name"], "url": source} for maintainer in chart["maintainers"]],
        "annotations": chart["annotations"] | annotations,
    }


def _replaced(text: str, old: str, new: str) -> str:
    """`text` with its one `old` replaced. Raises ValueError when there is none, or more."""
    if text.count(old) != 1:
        msg = f"{old!r} stands {text.count(old)} times where a release puts {new!r}"
        raise ValueError(msg)
    return text.replace(old, new)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
