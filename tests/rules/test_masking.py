"""Credentials do not show in the texts of the admin's desk, and stay what they are when these come back."""

import pytest

from gateway.rules.masking import MASK, NothingBehindMask, masked, unmasked

SECRETS = ("GATEWAY_SECRET_NEXUS", "nexus-password", "harbor-token", "client.pem", "client.key")
TEXT = """\
upstreams:
  nexus.example.com:
    url: http://nexus.example.com:8081/helm
    username_env: GATEWAY_SECRET_NEXUS   # who
    password_file: &p "nexus-password"
    ca_file: ca.pem
  harbor.example.com: {token_file: harbor-token, cert_file: client.pem}
  other.example.com:
    key_file: >-
      client.key
    kind: helm
"""


def test_no_credential_shows_and_all_else_does() -> None:
    told = masked(TEXT).text
    assert not any(secret in told for secret in SECRETS)
    assert "   # who" in told
    assert "ca_file: ca.pem" in told
    assert f"password_file: &p {MASK}\n" in told


def test_what_comes_back_masked_is_what_was_saved() -> None:
    edited = masked(TEXT).text.replace(":8081/helm", ":8081/charts")
    text, again = unmasked(edited, masked(TEXT).behind)
    assert text == TEXT.replace(":8081/helm", ":8081/charts")
    assert again == masked(text)


def test_a_mask_stands_for_its_own_key_alone() -> None:
    stolen = f"upstreams:\n  evil.example.com: {{token_file: {MASK}}}\n"
    with pytest.raises(NothingBehindMask, match=r'upstreams."evil.example.com".token_file') as told:
        unmasked(stolen, masked(TEXT).behind)
    assert (told.value.place.line, told.value.place.column) == (2, 34)


def test_a_text_that_is_no_yaml_is_masked_as_it_looks() -> None:
    told = masked(f"{TEXT}\nrules: [\n").text
    assert not any(secret in told for secret in SECRETS[:4])


def test_a_text_without_credentials_is_left_alone() -> None:
    text = "rules:\n  - {name: password_file, repository: a}\n"
    assert masked(text).text == text == unmasked(text, masked(text).behind)[0]


def test_what_somebody_writes_out_is_not_taken_for_masked() -> None:
    edited = masked(TEXT).text.replace(f"token_file: {MASK}", "token_file: harbor-token")
    assert unmasked(edited, masked(TEXT).behind) == (TEXT, None)
