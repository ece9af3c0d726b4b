#!/usr/bin/env python3
"""Cuts a byte-level BPE tokenizer.json down to what its test texts need: make_tokenizer.py FOLDER, which holds tokenizer.json and
cases.json [{text, ids}]; writes both into tests/data/tokenizer.

A merge that no text applies never decides anything: at every step the pair of the lowest rank is joined, and that one is kept.
So the tokens of the texts stay what they are, ids and all."""
import json
import os
import sys

OUT = os.path.join(os.path.dirname(os.path.abspath(__file__)), "tokenizer")


def parts(merge):
    return tuple(merge.split(" ")) if isinstance(merge, str) else tuple(merge)


def main():
    tokenizer = json.load(open(os.path.join(sys.argv[1], "tokenizer.json")))
    cases = [{"text": c["text"], "ids": c["ids"]} for c in json.load(open(os.path.join(sys.argv[1], "cases.json")))]
    model = tokenizer["model"]
    made_by = {}
    for merge in model["merges"]:
        made_by.setdefault("".join(parts(merge)), parts(merge))
    name_of = {i: name for name, i in model["vocab"].items()}
    added = {token["id"] for token in tokenizer["added_tokens"]}
    needed, todo = set(), [name_of[i] for case in cases for i in case["ids"] if i not in added]
    while todo:  # in these files a token's first merge is the only one that ever makes it
        name = todo.pop()
        if name not in needed:
            needed.add(name)
            todo += made_by.get(name, ())
    model["vocab"] = {name: i for name, i in model["vocab"].items() if name in needed or len(name) == 1 or i in added}
    model["merges"] = [m for m in model["merges"] if {*parts(m), "".join(parts(m))} <= needed and made_by["".join(parts(m))] == parts(m)]
    json.dump(tokenizer, open(os.path.join(OUT, "tokenizer.json"), "w"), ensure_ascii=False, separators=(",", ":"))
    json.dump(cases, open(os.path.join(OUT, "cases.json"), "w"), ensure_ascii=True, separators=(",", ":"))


if __name__ == "__main__":
    main()
