#!/usr/bin/env python3
"""Holds the licences and sources of all third-party crates against deny.toml, as cargo-deny would, without it.

What a crate says of itself comes with it from the registry (`cargo metadata`). Exits with 1 if a crate may not be used.
"""
import json
import re
import subprocess
import sys
import tomllib

TOKENS = re.compile(r"\(|\)|[^\s()/]+|/")


def is_allowed(expression, allowed):
    """Whether an SPDX expression can be met by allowed licences alone. The old form `A/B` means `A OR B`."""
    tokens = [{"/": "OR"}.get(token, token) for token in TOKENS.findall(expression)]

    def choice():
        result = every()
        while tokens[:1] == ["OR"]:
            tokens.pop(0)
            result |= every()
        return result

    def every():
        result = one()
        while tokens[:1] == ["AND"]:
            tokens.pop(0)
            result &= one()
        return result

    def one():
        token = tokens.pop(0)
        if token == "(":
            result = choice()
            tokens.pop(0)
            return result
        if tokens[:1] == ["WITH"]:
            tokens.pop(0)
            exception = tokens.pop(0)
            # A use that is allowed without the exception is allowed with it.
            return token in allowed or f"{token} WITH {exception}" in allowed
        return token in allowed

    return choice() and not tokens


def self_check():
    allowed = {"MIT", "Apache-2.0", "Zlib", "Apache-2.0 WITH LLVM-exception"}
    for expression, expected in [
        ("MIT", True),
        ("GPL-3.0-only", False),
        ("MIT OR GPL-3.0-only", True),
        ("MIT AND GPL-3.0-only", False),
        ("MIT/Apache-2.0", True),
        ("(MIT OR GPL-3.0-only) AND Zlib", True),
        ("(MIT OR Zlib) AND BSD-3-Clause", False),
        ("Apache-2.0 WITH LLVM-exception OR GPL-3.0-only", True),
        ("GPL-3.0-only WITH LLVM-exception", False),
    ]:
        assert is_allowed(expression, allowed) == expected, expression


def main():
    self_check()
    with open("deny.toml", "rb") as file:
        rules = tomllib.load(file)
    allowed = set(rules["licenses"]["allow"])
    registries = {f"registry+{url}" for url in rules["sources"]["allow-registry"]}
    denied = {entry["name"] for entry in rules["bans"]["deny"]}
    wrong, count = [], 0
    command = ["cargo", "metadata", "--locked", "--all-features", "--format-version", "1"]
    for target in rules["graph"]["targets"]:
        command += ["--filter-platform", target]
    packages = json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout)["packages"]
    for package in packages:
        if package["source"] is None:
            continue
        count += 1
        who = f"{package['name']} {package['version']}"
        if not is_allowed(package["license"] or "none", allowed):
            wrong.append(f"{who}: licence {package['license']}")
        if package["source"] not in registries:
            wrong.append(f"{who}: from {package['source']}")
        if package["name"] in denied:
            wrong.append(f"{who}: deny.toml names it")
    print("\n".join(wrong) or f"{count} crates: licences and sources as deny.toml has them")
    return 1 if wrong or not count else 0


sys.exit(main())
