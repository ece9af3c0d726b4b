"""Gives the golden of Mamba-1 text: an embedding of 300 rows, enough for all bytes, and a tokenizer.json of them and three words.

    mamba_with_text.py FOLDER TOKENIZER.json     changes a copy of the golden's folder
"""
import json, struct, sys
folder = sys.argv[1]
data = open(folder + "/model.safetensors", "rb").read()
size = struct.unpack("<Q", data[:8])[0]
header, data = json.loads(data[8:8 + size]), data[8 + size:]
name = "backbone.embeddings.weight"
rows, width = header[name]["shape"]
begin, end = header[name]["data_offsets"]
table = data[begin:end]
header[name] = {"dtype": "F32", "shape": [300, width], "data_offsets": [len(data), len(data) + 300 * width * 4]}
data += (table * 5)[:300 * width * 4]
kept, out = {}, b""
for key, entry in header.items():
    if key == "__metadata__":
        continue
    piece = data[entry["data_offsets"][0]:entry["data_offsets"][1]]
    kept[key] = dict(entry, data_offsets=[len(out), len(out) + len(piece)])
    out += piece
text = json.dumps(kept).encode()
open(folder + "/model.safetensors", "wb").write(struct.pack("<Q", len(text)) + text + out)
tokenizer = json.load(open(sys.argv[2]))
whole = tokenizer["model"]["vocab"]
byte_names = [n for n in whole if len(n) == 1]
vocab = {n: i + 1 for i, n in enumerate(byte_names)}
vocab.update({"th": 257, "the": 258, "Ġthe": 259})
tokenizer["model"].update(vocab=vocab, merges=["t h", "th e", "Ġ the"])
tokenizer["added_tokens"] = [dict(tokenizer["added_tokens"][0], id=0)]
json.dump(tokenizer, open(folder + "/tokenizer.json", "w"))
