"""Worked problems for few-shot prompts, written for this project.

`WORKED_EXAMPLES` are eight problems in GSM8K's form, `HARD_EXAMPLES` four in MATH's form. They
replace training rows of those data sets, so that a few-shot run needs no second file, is the same
on every machine, and shows the model the answer format that the strict score reads.

`SAMPLE_QUESTIONS` holds a question for each task of dmt_suite, in the form of its public data set.
It is shown where that data set is not on this machine.
"""

from __future__ import annotations

WORKED_EXAMPLES: tuple[tuple[str, str], ...] = (
    (
        "A baker fills 6 trays with 12 rolls each and sells 50 rolls. How many rolls are left?",
        "The baker makes 6 * 12 = 72 rolls.\nWith 50 sold, 72 - 50 = 22 rolls are left.\n#### 22",
    ),
    (
        "Nadia reads 15 pages on Monday and twice as many on Tuesday. Her book has 120 pages. "
        "How many pages must she still read?",
        "On Tuesday she reads 15 * 2 = 30 pages.\nIn both days she reads 15 + 30 = 45 pages.\n"
        "She must still read 120 - 45 = 75 pages.\n#### 75",
    ),
    (
        "A taxi costs $4 to enter and $2 for each kilometre. How much is a ride of 9 kilometres?",
        "The 9 kilometres cost 9 * 2 = $18.\nWith the entry fee the ride is 18 + 4 = $22.\n#### 22",
    ),
    (
        "Three friends share 48 cards equally. One of them then loses a quarter of his cards. "
        "How many cards does he have?",
        "Each friend gets 48 / 3 = 16 cards.\nA quarter of 16 is 16 / 4 = 4 cards.\n"
        "He has 16 - 4 = 12 cards.\n#### 12",
    ),
    (
        "A tank holds 240 litres and is 30% full. How many litres are needed to fill it?",
        "The tank holds 240 * 30 / 100 = 72 litres now.\nIt needs 240 - 72 = 168 litres.\n#### 168",
    ),
    (
        "Omar is 4 years older than Lena. In 5 years their ages add up to 40. How old is Lena now?",
        "In 5 years both are 5 years older, so now their ages add up to 40 - 10 = 30.\n"
        "Without Omar's extra 4 years that is 30 - 4 = 26, twice Lena's age.\n"
        "Lena is 26 / 2 = 13.\n#### 13",
    ),
    (
        "A machine prints 45 labels a minute. How many minutes does it take for 1,800 labels?",
        "It takes 1800 / 45 = 40 minutes.\n#### 40",
    ),
    (
        "Tickets cost $12 for adults and $7 for children. What do 2 adults and 3 children pay if "
        "they have a voucher of $5?",
        "The adults pay 2 * 12 = $24.\nThe children pay 3 * 7 = $21.\n"
        "Together that is 24 + 21 = $45.\nWith the voucher they pay 45 - 5 = $40.\n#### 40",
    ),
)

HARD_EXAMPLES: tuple[tuple[str, str], ...] = (
    (
        r"Find the sum of the solutions of $x^2 - 7x + 10 = 0$.",
        r"The polynomial factors as $(x - 2)(x - 5)$, so the solutions are 2 and 5. "
        r"Their sum is $\boxed{7}$.",
    ),
    (
        r"A right triangle has legs of length 1 and 3. What is the cosine of its smaller acute "
        r"angle?",
        r"The hypotenuse is $\sqrt{1^2 + 3^2} = \sqrt{10}$. The smaller angle lies opposite the "
        r"leg of length 1, so its cosine is $\boxed{\frac{3}{\sqrt{10}}}$.",
    ),
    (
        r"What is the probability that two rolls of a fair die add up to 4?",
        r"The rolls (1,3), (2,2) and (3,1) add up to 4: 3 of 36 outcomes. "
        r"The probability is $\frac{3}{36} = \boxed{\frac{1}{12}}$.",
    ),
    (
        r"For which $x$ is $\sqrt{2x - 6}$ a real number? Answer as an interval.",
        r"We need $2x - 6 \ge 0$, so $x \ge 3$. The interval is $\boxed{[3, \infty)}$.",
    ),
)

SAMPLE_QUESTIONS: dict[str, str] = {
    "dmt_math": WORKED_EXAMPLES[0][0],
    "dmt_math_cot": WORKED_EXAMPLES[0][0],
    "dmt_math_hard": HARD_EXAMPLES[0][0],
    "dmt_code": (
        "def count_vowels(text: str) -> int:\n"
        '    """Return the number of vowels in a text.\n'
        "    >>> count_vowels('tree')\n"
        "    2\n"
        '    """\n'
    ),
    "dmt_code_mbpp": (
        "Write a function to count the vowels in a text.\n"
        "Your code should pass these tests:\n\n"
        "assert count_vowels('tree') == 2\n"
    ),
    "dmt_general": "Describe a rainy day in three sentences. Do not use any commas.",
    "dmt_general_mtbench": "Write a short letter to a neighbour who has found your cat.",
}
