"""Small data for three skills, and a tiny model to learn them: what the quickstart trains on.

    python -m axolotl_dmt.toy outputs/quickstart-data

writes, in a few seconds and byte for byte the same for the same seed:

    outputs/quickstart-data/
      data/{math,code,general}.jsonl       training rows
      data/{math,code,general}_test.jsonl  held-out items, in the formats of the three scorers
      data/chats.jsonl                     general rows with some math and code among them, tagged
      base/                                a tiny Llama, untrained, and its tokenizer

`skills` makes the rows and needs nothing but Python; `model` makes the folder `base`.
"""
