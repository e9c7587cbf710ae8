"""`python -m cluster VERB`: the bare cluster by hand. Its verbs are those that the end-to-end tests use.

build                              the programs and images that `up` needs, once
up | down                          start and remove the cluster (root, Linux, one a machine)
kubeconfig                         print the path of the administrator's kubeconfig
build-image FOLDER NAME [OPTION…]  a Dockerfile into the local storage; options: -f, --build-arg
load-image NAME|FILE               from the storage, or an archive, into the node
push-image NAME PATH:TAG           from the storage to a registry in it, which is started for that
run PROGRAM [ARGUMENT…]            kubectl, helm, kubeconform, kindconfig, … as built here
"""

from __future__ import annotations

import os
import sys
import tempfile
from pathlib import Path

from cluster import images, registry
from cluster.build import MODULES, binary
from cluster.node import Node
from devstack.errors import DevstackError


def main(arguments: list[str]) -> int:
    """Do what the command line says; return the exit status."""
    node = Node.from_environment()
    match arguments:
        case ["build"]:
            for module in MODULES:
                print(binary(module))
        case ["up"]:
            node.up()
            print(f"export KUBECONFIG={node.kubeconfig}")
        case ["down"]:
            node.down()
        case ["kubeconfig"]:
            print(node.kubeconfig)
        case ["build-image", folder, name, *options]:
            images.build(Path(folder), name, *options)
        case ["load-image", name]:
            load(node, name)
        case ["push-image", name, path]:
            images.push(name, f"{registry.start(node)}/{path}")
        case ["run", program, *rest]:
            os.environ.setdefault("KUBECONFIG", str(node.kubeconfig))
            os.execv(binary(program), [program, *rest])
        case _:
            print(__doc__, file=sys.stderr)
            return 2
    return 0


def load(node: Node, name: str) -> None:
    """Import an image of the storage, or an archive, into the node."""
    if Path(name).is_file():
        node.load(Path(name))
        return
    with tempfile.TemporaryDirectory() as folder:
        node.load(images.save(name, Path(folder, "image.tar")))


if __name__ == "__main__":
    try:
        sys.exit(main(sys.argv[1:]))
    except DevstackError as error:
        sys.exit(f"{error}")
