"""Values for every key of rules.yaml, as they are written: some that are right, some that are not."""

from collections.abc import Mapping
from typing import Final

Words = tuple[tuple[str, ...], tuple[str, ...]]  # right, wrong

_DURATION: Final[Words] = (
    ("5m", "1d", "0", "12", '"15s"', "1.5h", "500ms", "2w"),
    ("5 minutes", "-1", "forever", "5M", "1h30m", "[5m]", "true", "", '""', "1234567890", "1.2345s"),
)
_BOOLEAN: Final[Words] = (("true", "false", "True"), ('"true"', "1", "yes", "", "[true]"))
_NAME: Final[Words] = (
    ("a.example", "a.example/x", "x/y-z", "a"),
    ("A.example", "https://a.example", "a.example/", "a//b", "", "a.example:8443", "a_.x", f"{'a' * 256}"),
)
_FILE: Final[Words] = (("password", "ca.pem", "a-b_c"), ("/etc/x", "../x", "a/b", "", ".x", '""'))
_VARIABLE: Final[Words] = (
    ("GATEWAY_SECRET_X", "GATEWAY_SECRET_A_1"),
    ("X", "GATEWAY_SECRET_", "GATEWAY_SECRET_x"),
)
_HOSTS: Final[Words] = (
    ("[a.example]", "[]", "[a, b.c]"),
    ("a.example", "[A]", "[a.example/x]", "[a:1]", "[-a]"),
)
_URL: Final[Words] = (
    ("https://a.example", "http://a.example:8081/x/y", '"https://[fd00::1]/x"', "https://A.example/X~y%20z/"),
    (
        *(
            "a.example",
            "ftp://a.example",
            "https://u:p@a.example",
            "https://a.example/?q",
            "https://a.example:0/",
        ),
        *(
            '"https://a.example/#f"',
            "https://",
            '"https://a b"',
            "https://a.example:65536",
            '"https://a\\\\b"',
        ),
    ),
)
_MESSAGE: Final[Words] = (
    ("moved", '"no, not here"'),
    ("true", '""', '" "', '"a\\nb"', f"{'a' * 501}", "[x]", ""),
)
_RANGE: Final[Words] = (
    ('">=1.2 <2"', "^1.2", "5.x", '"*"', "1", "1.10", '"1 || 3"', '"1.2 - 2"', "v1"),
    ('""', '">=x.y; 1"', "[1]", "", "latest", '"1 & 2"', "true"),
)

POLICY: Final[Mapping[str, Words]] = {
    "chain": (
        ("[registry]", "[helm, registry]", "[registry, helm]"),
        ("[]", "registry", "[ftp]", "[helm, helm]", "", "[[helm]]"),
    ),
    "chartproxy": _NAME,
    "fresh_for": _DURATION,
    "recheck_for": _DURATION,
    "stale_for": (("forever", *_DURATION[0]), ("never", "5 minutes", "-1", "")),
    "missing_for": _DURATION,
    "deleted": (("keep", "drop"), ("follow", "", "Keep", "[keep]")),
    "drift": (("keep", "follow"), ("drop", "", "true")),
    "digest_mismatch": (("refuse", "warn"), ("ignore", "", "1")),
    "provenance": _BOOLEAN,
    "rewrite_dependencies": _BOOLEAN,
    "tags": (
        ('{allow: ["1.*", latest], deny: ["*-rc*"]}', "{}", "{deny: [1.2, 3]}"),
        (
            "{allow: 1.x}",
            "[x]",
            "{permit: [x]}",
            "{allow: []}",
            "{allow: [x, x]}",
            "",
            '{deny: ["a b"]}',
            '{allow: [""]}',
            "{deny: }",
            '{deny: ["a+b"]}',
        ),
    ),
    "versions": _RANGE,
    "min_age": _DURATION,
    "channels": (
        ('{"5": ">=5 <6"}', "{stable: ^1, 6: 6.x}", "{}"),
        ("[5]", '{"a b": ^1}', '{".5": ^1}', "{x: }", "{x: [1]}", "", '{x: ""}'),
    ),
    "deny": _MESSAGE,
}

EGRESS: Final[Mapping[str, Words]] = {
    "mode": (("public", "allowlist", "offline"), ("private", "", "[public]")),
    "hosts": (
        ('["*.example"]', "[a.example]", "[]", '["a-*.b.*"]'),
        ('["*"]', "[A.example]", '"*.example"', '["**.a"]', "[a..b]", '["a."]', "[a.example:443]", ""),
    ),
    "ca_file": _FILE,
    "proxy": (
        ("http://proxy.example:3128", "http://proxy.example/", '"http://[fd00::1]:80"'),
        (
            "https://proxy.example",
            "proxy.example:3128",
            "http://u:p@proxy.example",
            "http://proxy.example/x",
            "",
        ),
    ),
    "no_proxy": (
        ("[a.example, .b.example]", '["*.a.example"]', "[10.0.0.0/8, 10.1.2.3]", '["fd00::/8", "::1"]', "[]"),
        ('["*"]', "[A.example]", "[a.example:80]", "a.example", '["10.0.0.0/33"]', '[".*.a"]', '["."]'),
    ),
}

UPSTREAM: Final[Mapping[str, Words]] = {
    "kind": (("helm", "registry", "auto", "chartproxy"), ("oci", "", "Helm")),
    "url": _URL,
    "urls": (
        ("[https://a.example]", "[https://a.example, https://b.example/x]"),
        ("[]", "https://a.example", "[https://a.example, https://a.example]", "[a.example]"),
    ),
    "username_env": _VARIABLE,
    "username_file": _FILE,
    "password_env": _VARIABLE,
    "password_file": _FILE,
    "token_env": _VARIABLE,
    "token_file": _FILE,
    "token_hosts": _HOSTS,
    "ca_file": _FILE,
    "cert_file": _FILE,
    "key_file": _FILE,
    "allow_private": _BOOLEAN,
    "trusted_by": _HOSTS,
    "access": (("anonymous", "private"), ("public", "")),
}

UPSTREAM_KEYS: Final[Words] = (
    ("a.example", "b.example:8443", "c.example/x/Y~z", "nexus", "d_e.example"),
    (
        "A.example",
        "a.example:443",
        "a.example:0",
        "a.example/",
        "a..b",
        "-a.example",
        "a.example/.x",
        "https://a.b",
    ),
)

RULE: Final[Mapping[str, Words]] = {
    "name": (("short refs", '"5"'), ('""', '" "', '"a\\nb"', f"{'a' * 201}", "")),
    "host": (
        ("a.example", '"*.example"', '"**"', '"~a.+"', '"a-*-b.*"'),
        ("A.example", '"a.**b"', '"***"', '"a..b"', '""', '"~"', "a.example:80", '"a b"', ""),
    ),
    "repository": (
        ('"argo/*"', '"**"', "a.b/c-d", '"~x/(.+)"', '"a*b*/**/c"', '"*"'),
        (
            '"Argo/*"',
            '"a/**b"',
            '"***"',
            '"/a"',
            '"a/"',
            '"a//b"',
            '""',
            '"~"',
            '"a/[bc]"',
            f"{'a' * 513}",
            "",
        ),
    ),
    "rewrite": (
        ("b.example/x/$0", '["b.example/$0", c.example/x]', "b.example/${0}x", "$0", "b.$0/x"),
        (
            *(
                "https://b.example/$0",
                "b.example:80/$0",
                "B.example/$0",
                "b.example",
                '""',
                "[]",
                "b.example/$",
            ),
            *('"b.example/${0"', "b.example/", "b.example//x", "b.example/x..y", "", "{a: b}", '[""]'),
        ),
    ),
    "enabled": _BOOLEAN,
    "classic": _BOOLEAN,
}

SYNC_LIST: Final[Mapping[str, Words]] = {
    "name": (("platform", '"5"'), ('""', '" "', '"a\\nb"', f"{'a' * 101}", "")),
    "every": (("6h", "1m", "60", "90s", "1.5h"), ("59", "59s", "0", "forever", "", "[5m]", "6 hours")),
    "charts": (
        ('[{repository: "a.example/*"}]', "", "[]"),
        ("a.example/x", "[a.example/x]", "[{}]", "[{newest: 1}]", "[[]]"),
    ),
    "images": (
        ("[{repository: a.example/x, newest: 1}]", "", "[]"),
        ("[{repository: a.example/x}]", "[{newest: 1}]", "{}"),
    ),
}

SYNC_IMAGE: Final[Mapping[str, Words]] = {
    "repository": (
        ("argo/argo-cd", '"argo/*"', '"a.example/**/x"', "nginx", "a.example:5000/x", '"a/b-*"'),
        ('"*"', '"*/x"', '"a*/x"', '"~a/.+"', "nginx:1.2", '"a/b:*"', "A/b", "oci://a/b", '""', "", "[a]"),
    ),
    "versions": _RANGE,
    "tags": (
        ('["1.*", latest]', '{allow: ["1.*"], deny: ["*-rc*"]}', "{}", "[1.2]"),
        ("1.x", "[]", "[x, x]", "{permit: [x]}", "", '["a b"]'),
    ),
    "newest": (("1", "3", "1000"), ("0", "1001", "-1", "1.5", '"3"', "all", "", "[1]")),
    "older": (("keep", "remove"), ("drop", "", "true")),
    "signatures": _BOOLEAN,
    "platforms": (
        ("[linux/amd64]", "[linux/arm64, linux/arm/v7]"),
        ("linux/amd64", "[]", "[amd64]", "[linux/amd64, linux/amd64]", '["linux/*"]', "", "[LINUX/amd64]"),
    ),
}

SYNC_CHART: Final[Mapping[str, Words]] = {**SYNC_IMAGE, "dependencies": _BOOLEAN, "images": _BOOLEAN}

TEST: Final[Mapping[str, Words]] = {
    "ask": (("x/y", "a.example:5000/x"), ("x:1.0", "oci://a/b", "X", "", "x/", "a.example:0/x")),
    "host": (("a.example", '"10.0.0.1"'), ("A.example", "", '"a b"')),
    "target": (
        ("DENIED", "NAME_UNKNOWN", "denied", "b.example/x/y", "[b.example/x, c.example/y]", "[DENIED]"),
        ("https://b.example", "[]", "", "[DENIED, NAME_UNKNOWN]", "B.example/x"),
    ),
}
