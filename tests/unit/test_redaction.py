"""Secrets stay out."""

from __future__ import annotations

import pytest

from envbuild.redaction import (
    redacted,
    secrets_of,
    token_of,
    with_userinfo,
    without_credentials,
    without_userinfo,
)


@pytest.mark.parametrize(
    ("url", "plain"),
    [
        ("https://user:canary@h.invalid/simple", "https://h.invalid/simple"),
        ("https://canary@h.invalid/simple", "https://h.invalid/simple"),
        ("https://user:can@ary@h.invalid/simple", "https://h.invalid/simple"),
        ("https://user:can%40ary@h.invalid:8080/a@1.0", "https://h.invalid:8080/a@1.0"),
        ("git+https://canary@h.invalid/r.git@v1", "git+https://h.invalid/r.git@v1"),
        ("HTTPS://user:canary@h.invalid", "HTTPS://h.invalid"),
        ("ssh://git@h.invalid/r.git", "ssh://git@h.invalid/r.git"),
        ("https://h.invalid/own@1.0", "https://h.invalid/own@1.0"),
        ("https://h.invalid?at=a@b", "https://h.invalid?at=a@b"),
    ],
)
def test_credentials_are_cut_from_a_url_and_nothing_else_is(url: str, plain: str) -> None:
    assert without_userinfo(url) == plain


def test_credentials_in_a_text_are_replaced_wherever_they_stand() -> None:
    text = 'error: "https://u:canary@a.invalid/x" and <git+https://canary@b.invalid/y>\nhttps://u:can@ary@c.invalid'
    assert redacted(text) == (
        'error: "https://****@a.invalid/x" and <git+https://****@b.invalid/y>\nhttps://****@c.invalid'
    )


def test_named_secrets_are_replaced_in_both_spellings_the_longest_first() -> None:
    assert redacted("p@ss-word p%40ss-word p@ss", ["p@ss", "p@ss-word"]) == "**** **** ****"


def test_what_is_too_short_to_be_a_secret_is_left() -> None:
    assert redacted("the abc of it", ["abc", ""]) == "the abc of it"


def test_the_secrets_of_urls_are_passwords_and_tokens_but_not_the_usual_names() -> None:
    urls = [
        "https://user:pass@h.invalid",
        "https://token@h.invalid",
        "https://__token__:t0ken@h.invalid",
        "ssh://git@h",
    ]
    assert set(secrets_of([*urls, "https://h.invalid"])) == {"user", "pass", "token", "t0ken"}


def test_a_login_is_put_into_a_url_escaped_and_replaces_another() -> None:
    assert with_userinfo("https://old@h.invalid:1/x", "me", "p@/s") == "https://me:p%40%2Fs@h.invalid:1/x"
    assert without_userinfo(with_userinfo("https://h.invalid/x", "me", "p@/s")) == "https://h.invalid/x"


@pytest.mark.parametrize(
    ("url", "plain", "token"),
    [
        ("https://h.invalid/t/can-ary/channel", "https://h.invalid/channel", "can-ary"),
        ("https://user:pass@h.invalid:81/t/canary/channel", "https://h.invalid:81/channel", "canary"),
        ("https://h.invalid/api/conda/t/canary/channel", "https://h.invalid/api/conda/channel", "canary"),
        ("https://h.invalid/t/canary", "https://h.invalid", "canary"),
        ("https://h.invalid/channel/t", "https://h.invalid/channel/t", None),
        ("file:///t/folder/channel", "file:///t/folder/channel", None),
    ],
)
def test_a_channel_s_token_is_cut_from_its_path(url: str, plain: str, token: str | None) -> None:
    assert (without_credentials(url), token_of(url)) == (plain, token)


def test_a_token_in_a_text_is_replaced_and_a_folder_of_that_name_is_not() -> None:
    text = "https://h.invalid/t/canary/channel https://h.invalid/packages/source/t/tornado/tornado-6.1.tar.gz"
    assert redacted(text) == text.replace("canary", "****")
