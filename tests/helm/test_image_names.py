"""Names of images as charts write them, and where they lie."""

import pytest

from gateway.helm.image_names import ImageNameError, ImageParts, read_image

HEX = "a" * 64


@pytest.mark.parametrize(
    ("text", "location"),
    [
        ("nginx:1.27", "docker.io/library/nginx:1.27"),
        ("bitnami/redis:7", "docker.io/bitnami/redis:7"),
        ("docker.io/nginx:1", "docker.io/library/nginx:1"),
        ("docker.io/bitnami/redis:7", "docker.io/bitnami/redis:7"),
        ("index.docker.io/library/nginx:1", "docker.io/library/nginx:1"),
        ("quay.io/argoproj/argocd:v2.0.1", "quay.io/argoproj/argocd:v2.0.1"),
        (f"quay.io/a/b@sha256:{HEX}", f"quay.io/a/b@sha256:{HEX}"),
        (f"quay.io/a/b:v1@sha256:{HEX}", f"quay.io/a/b@sha256:{HEX}"),
    ],
)
def test_where_an_image_lies(text: str, location: str) -> None:
    assert str(read_image(text)) == location


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("nginx", "neither tag nor digest"),
        ("nginx:", "neither tag nor digest"),
        ("https://quay.io/a:1", "no image's name"),
        ("a" * 600, "no image's name"),
        ("localhost:5000/a:1", "every cluster"),
        ("localhost/a:1", "every cluster"),
        ("10.0.0.1/a:1", "no host's name"),
        ("-x.io/a:1", "no repository name"),
        ("quay.io/A/b:1", "no repository name"),
        ("/a:1", "no repository name"),
        ("quay.io/a:1 2", "no manifest can be called"),
        ("quay.io/a:1+2", "no image's name"),
        ("quay.io/a@sha256:1", "digest"),
    ],
)
def test_what_could_not_be_pulled(text: str, reason: str) -> None:
    with pytest.raises(ImageNameError, match=reason):
        read_image(text)


@pytest.mark.parametrize(
    ("parts", "text"),
    [
        (ImageParts("a/b", "quay.io", "1"), "quay.io/a/b:1"),
        (ImageParts("quay.io/a/b", "quay.io/", "1"), "quay.io/a/b:1"),
        (ImageParts("a:1", tag="2"), "a:1"),
        (ImageParts("a", digest=f"sha256:{HEX}"), f"a@sha256:{HEX}"),
        (ImageParts("a", tag="1", digest=HEX), f"a:1@sha256:{HEX}"),
        (ImageParts(f"a@sha256:{HEX}", digest=HEX), f"a@sha256:{HEX}"),
        (ImageParts("a", tag=f"1@sha256:{HEX}", digest=HEX), f"a:1@sha256:{HEX}"),
        (ImageParts("a/"), "a"),
    ],
)
def test_pieces_become_one_name(parts: ImageParts, text: str) -> None:
    assert parts.text == text
