"""Make small data sets for three skills, and a tiny model that can learn them in minutes.

The command that the quickstart starts with,

    python -m axolotl_dmt.toy outputs/quickstart-data

takes a few seconds. The same seed gives the same bytes:

    outputs/quickstart-data/
      data/{math,code,general}.jsonl       training rows
      data/{math,code,general}_test.jsonl  held-out items, in the formats of the three scorers
      data/chats.jsonl                     general rows mixed with some math and code rows, tagged
      base/                                a tiny untrained Llama and its tokenizer

The rows alone need nothing but Python:

    from axolotl_dmt.toy import make_rows

    train, test = make_rows("math", train=8000, test=100, seed=0)

    skills       makes the rows
    model        makes the folder `base`
    pretrained   prepares real data and a small pre-trained model, with a command of its own
"""

from axolotl_dmt.toy.skills import SKILLS, make_rows

UNTRAINED = "UNTRAINED.txt"
"""The file by which a model's folder says that its weights are random; saving leaves it out."""

__all__ = ["SKILLS", "UNTRAINED", "make_rows"]
