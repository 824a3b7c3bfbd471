"""Lab 2: mistakes that students make, the hint each deserves, and other right ways. See `autograder/mistakes.py`.

A hint names the misunderstanding and where to look. It never shows code.
"""

from autograder.mistakes import Mistake, Proofs

EXERCISES = {
    "pairs": Proofs(
        observe="""
table = check.observe(count_pairs, {("m", "a", "t"): 5, ("e", "a", "t"): 2, ("a", "t", "e"): 3})
repeated = check.observe(count_pairs, {("a", "a", "a", "b", "a", "a"): 2})
longer = check.observe(count_pairs, {("mat", "s"): 2, ("e", "at"): 1})
alone = check.observe(count_pairs, {("a",): 1, ("b",): 2})
""",
        alternative='''
def count_pairs(words):
    """The same with a Counter and positions."""
    found = Counter()
    for symbols, count in words.items():
        for i in range(1, len(symbols)):
            found[symbols[i - 1], symbols[i]] += count
    return dict(found)
''',
        mistakes={
            "words-counted-once": Mistake(
                "every word counts once, however often it occurs. A word that occurs four times brings each of its "
                "pairs four times.",
                (("counts.get(pair, 0) + count", "counts.get(pair, 0) + 1"),),
            ),
            "once-in-a-word": Mistake(
                "a pair that stands in a word several times is counted there once. Every place counts.",
                (("in pairwise(symbols):", "in dict.fromkeys(pairwise(symbols)):"),),
            ),
            "letters-not-symbols": Mistake(
                "you count pairs of letters. After a merge a symbol has several letters, and pairs are pairs of "
                "symbols: take the words as they are, without joining them to text.",
                (("in pairwise(symbols):", 'in pairwise("".join(symbols)):'),),
            ),
            "across-words": Mistake(
                "your pairs go on from the end of a word to the beginning of the next. Words are counted each by "
                "itself.",
                (
                    (
                        "    for symbols, count in words.items():\n",
                        "    last = ()\n"
                        "    for symbols, count in words.items():\n"
                        "        symbols, last = (*last, *symbols), symbols[-1:]\n",
                    ),
                ),
            ),
            "order-lost": Mistake(
                "a pair and its mirror image are counted as one. The order of the two symbols belongs to a pair.",
                (("in pairwise(symbols):", "in map(tuple, map(sorted, pairwise(symbols))):"),),
            ),
        },
    ),
    "merge": Proofs(
        observe="""
plain = check.observe(merge_pair, ("m", "a", "t", "a", "t"), ("a", "t"), "at")
overlap = check.observe(merge_pair, ("a", "a", "a", "a", "a"), ("a", "a"), "aa")
inside = check.observe(merge_pair, ("ca", "t"), ("a", "t"), "at")
spelled = check.observe(merge_pair, ("ca", "t"), ("c", "at"), "cat")
mirrored = check.observe(merge_pair, ("t", "a"), ("a", "t"), "at")
purity = check.observe(check.pure, merge_pair, ["m", "a", "t"], ("a", "t"), "at")
""",
        alternative='''
def merge_pair(symbols, pair, merged):
    """The same by looking back: a symbol joins the one before it, if that has not just been made."""
    done, free = [], False
    for symbol in symbols:
        if free and (done[-1], symbol) == tuple(pair):
            done[-1], free = merged, False
        else:
            done.append(symbol)
            free = True
    return tuple(done)
''',
        mistakes={
            "text-replaced": Mistake(
                "you replace text in a string, and so find a pair where there is only the end of one symbol and the "
                "beginning of another. Compare whole symbols, one place after another.",
                (
                    (
                        "    result = []\n",
                        "    text = ' '.join(symbols).replace(' '.join(pair), merged)\n"
                        "    return tuple(text.split())\n    result = []\n",
                    ),
                ),
            ),
            "compared-by-spelling": Mistake(
                "you merge two symbols that spell the same letters together as the pair does, though they are cut at "
                "another place. Both symbols have to be those of the pair.",
                (
                    (
                        "if tuple(symbols[i : i + 2]) == pair:",
                        'if i + 1 < len(symbols) and "".join(symbols[i : i + 2]) == "".join(pair):',
                    ),
                ),
            ),
            "symbol-used-twice": Mistake(
                "a symbol takes part in two merges: after a merge go on behind both of its symbols.",
                (("i += 2", "i += 1"),),
            ),
            "first-place-only": Mistake(
                "only the first place in the word is merged. The pair is replaced wherever it occurs.",
                (("i += 2", "return (*result, *symbols[i + 2 :])"),),
            ),
            "order-ignored": Mistake(
                "you merge the pair in its mirror image, too. The first symbol of the pair has to stand first.",
                (("symbols[i : i + 2]) == pair:", "symbols[i : i + 2]) in (pair, pair[::-1]):"),),
            ),
            "list-changed": Mistake(
                "your function changes the list that it was given. Build a new sequence and leave the old one alone.",
                (
                    (
                        "    return tuple(result)",
                        "    if isinstance(symbols, list):\n        symbols[:] = result\n    return tuple(result)",
                    ),
                ),
            ),
        },
    ),
    "training": Proofs(
        observe="""
age = {"b": 0, "a": 1, "d": 2, "c": 3}
frequent = check.observe(choose_pair, {("b", "a"): 1, ("d", "c"): 7, ("c", "d"): 2}, age)
tied = check.observe(choose_pair, {("d", "b"): 2, ("b", "d"): 2, ("b", "a"): 2, ("c", "b"): 2, ("a", "b"): 2}, age)
merges = check.observe(train_bpe, {"mat": 5, "mats": 2, "eat": 2, "cat": 4, "mate": 3, "ate": 3}, 5)
ended = check.observe(train_bpe, {"ab": 2, "b": 1}, 3)
nothing = check.observe(train_bpe, {"mat": 5}, 0)
""",
        alternative='''
def choose_pair(pair_counts, age):
    """The same by sorting."""
    highest = max(pair_counts.values())
    tied = [(age[left], age[right], (left, right)) for (left, right), n in pair_counts.items() if n == highest]
    return sorted(tied)[0][2]


def train_bpe(word_counts, num_merges):
    """The same with the words in two lists."""
    words, counts = [tuple(word) for word in word_counts], list(word_counts.values())
    age, merges = {}, []
    for letter in sorted({letter for word in words for letter in word}):
        age[letter] = len(age)
    for _ in range(num_merges):
        table = count_pairs(dict(zip(words, counts, strict=True)))
        if len(table) == 0:
            return merges
        best = choose_pair(table, age)
        age["".join(best)] = len(age)
        words = [merge_pair(word, best, "".join(best)) for word in words]
        merges += [best]
    return merges
''',
        mistakes={
            "ties-as-they-come": Mistake(
                "of equally frequent pairs you take the one that stands first in the table. The ages of the symbols "
                "decide.",
                (
                    (
                        "min(pair_counts, key=lambda pair: (-pair_counts[pair], age[pair[0]], age[pair[1]]))",
                        "max(pair_counts, key=lambda pair: pair_counts[pair])",
                    ),
                ),
            ),
            "ties-by-alphabet": Mistake(
                "of equally frequent pairs you take the first one in the alphabet. Their ages decide: a symbol's place "
                "in the vocabulary.",
                (("age[pair[0]], age[pair[1]])", "pair)"),),
            ),
            "ties-to-the-newest": Mistake(
                "of equally frequent pairs you take the one with the newest symbols. The oldest win: ages count from 0 "
                "for the first symbol of the vocabulary.",
                (("age[pair[0]], age[pair[1]])", "-age[pair[0]], -age[pair[1]])"),),
            ),
            "the-rarest-pair": Mistake(
                "you merge the rarest pair. Training merges the most frequent one.",
                (("(-pair_counts[pair], ", "(pair_counts[pair], "),),
            ),
            "never-counted-again": Mistake(
                "you count the pairs once and take the most frequent ones of that table. After each merge the words "
                "are others, and all pairs have to be counted anew.",
                (
                    (
                        "    while len(merges) < num_merges:\n        pair_counts = count_pairs(words)\n",
                        "    pair_counts = count_pairs(words)\n    while len(merges) < num_merges:\n",
                    ),
                    ("        merges.append(pair)\n", "        merges.append(pair)\n        del pair_counts[pair]\n"),
                ),
            ),
            "words-not-merged": Mistake(
                "the same pair is chosen again and again: the merge never reaches the words that are counted.",
                (("        words = {merge_pair(", "        {merge_pair("),),
            ),
            "no-end": Mistake(
                "when every word is one symbol, no pair is left, and there is nothing to choose from: training ends "
                "there, with fewer merges.",
                (("        if not pair_counts:\n            break\n", ""),),
            ),
            "one-merge-too-many": Mistake(
                "training makes one merge too many: ask whether there are enough before each merge, not after it.",
                (("len(merges) < num_merges", "len(merges) <= num_merges"),),
            ),
        },
    ),
    "ranks": Proofs(
        observe="""
ranks = {("b", "c"): 0, ("a", "b"): 1, ("c", "bc"): 2, ("b", "b"): 3}
products = ["bc", "ab", "cbc", "bb"]
early = check.observe(apply_merges, list("abcab"), ranks, products)
late = check.observe(apply_merges, list("abbcbc"), ranks, products)
several = check.observe(apply_merges, list("bcbbbaab"), ranks, products)
length = check.observe(apply_merges, ["b", "c", "bc"], {("b", "c"): 0, ("c", "bc"): 1}, ["bc", "cbc"])
leftmost = check.observe(apply_merges, list("aaa"), {("a", "a"): 0}, ["aa"])
purity = check.observe(check.pure, apply_merges, list("abc"), ranks, products)
""",
        alternative='''
def apply_merges(symbols, ranks, products):
    """The same with merge_pair: all places of the earliest pair at once."""
    symbols = tuple(symbols)
    while True:
        present = {ranks[pair]: pair for pair in zip(symbols, symbols[1:]) if pair in ranks}
        if not present:
            return list(symbols)
        rank = min(present)
        symbols = merge_pair(symbols, present[rank], products[rank])
''',
        mistakes={
            "rank-ignored": Mistake(
                "you merge what comes first in the word. What was learnt first goes first, wherever it stands: look at "
                "the ranks of all pairs of the word before you merge.",
                (("        rank = min(found)\n", "        rank = next((r for r in found if r < never), never)\n"),),
            ),
            "latest-first": Mistake(
                "you do the merges in the opposite order: the lowest rank is the merge that was learnt first.",
                (
                    (
                        "        rank = min(found)\n",
                        "        rank = max((r for r in found if r < never), default=never)\n",
                    ),
                ),
            ),
            "longest-first": Mistake(
                "you merge into the longest symbol first. That is near to WordPiece; here the order of "
                "learning decides.",
                (
                    (
                        "        rank = min(found)\n",
                        "        known = [r for r in found if r < never]\n"
                        "        rank = max(known, key=lambda r: (len(products[r]), -r), default=never)\n",
                    ),
                ),
            ),
            "one-merge-only": Mistake(
                "you stop after one merge. Go on as long as two neighbours are a pair that was learnt.",
                (("    while found:\n", "    for _ in found[:1]:\n"),),
            ),
            "rightmost-first": Mistake(
                "where a pair stands twice you begin at the right. Training went from left to right, and so must you.",
                (("found.index(rank)", "len(found) - 1 - found[::-1].index(rank)"),),
            ),
            "list-changed": Mistake(
                "your function changes the list that it was given. Work on a copy.",
                (("    symbols = list(symbols)\n", ""),),
            ),
        },
    ),
    "bytes": Proofs(
        observe="""
table = check.observe(bytes_to_unicode)
""",
        alternative='''
def bytes_to_unicode():
    """The same in two steps: what can be seen, then the others in order."""
    seen = [*range(ord("!"), ord("~") + 1), *range(ord("¡"), ord("¬") + 1), *range(ord("®"), ord("ÿ") + 1)]
    others = [byte for byte in range(256) if byte not in seen]
    table = {byte: chr(byte) for byte in seen} | {byte: chr(256 + i) for i, byte in enumerate(others)}
    return {byte: table[byte] for byte in range(256)}
''',
        mistakes={
            "byte-plus-256": Mistake(
                "a byte that cannot be seen gets the character that many places after 256 as the byte is large. Its "
                "place among those that cannot be seen counts, from 0.",
                (("chr(256 + moved)", "chr(256 + byte)"),),
            ),
            "all-moved": Mistake(
                "you move bytes that can be seen, too. Those stand for themselves, so that English stays legible.",
                (("chr(byte) if visible else chr(256 + moved)", "chr(256 + byte)"),),
            ),
            "nothing-moved": Mistake(
                "your table is Latin-1: spaces, line breaks and control characters stay as they are and cannot be "
                "seen in a file. They need other characters.",
                (("chr(byte) if visible else chr(256 + moved)", "chr(byte)"),),
            ),
            "soft-hyphen-kept": Mistake(
                "byte 173 stays as it is. It is a hyphen that is shown at the end of a line only, so it is among those "
                "that cannot be seen.",
                (("161 <= byte <= 172 or 174 <= byte <= 255", "161 <= byte <= 255"),),
            ),
            "the-wrong-way": Mistake(
                "your table leads from characters to bytes. Its keys are the bytes.",
                (("    return table", "    return {character: byte for byte, character in table.items()}"),),
            ),
            "moved-from-one": Mistake(
                "the bytes that cannot be seen are counted from 1. Byte 0 gets character 256 itself.",
                (("chr(256 + moved)", "chr(257 + moved)"),),
            ),
        },
    ),
    "score": Proofs(
        observe="""
score = check.observe(wordpiece_score, 6, 4, 5)
table = check.observe(pair_scores, {("a", "b", "a", "b"): 3, ("b",): 2, ("a", "b"): 1, ("a",): 5})
""",
        alternative='''
def wordpiece_score(pair_count, left_count, right_count):
    """The same by logarithms."""
    return math.exp(math.log(pair_count) - math.log(left_count) - math.log(right_count))


def pair_scores(words):
    """The same with a Counter of symbols."""
    single = Counter()
    for symbols, count in words.items():
        single.update({symbol: count * times for symbol, times in Counter(symbols).items()})
    pairs = count_pairs(words)
    return {pair: wordpiece_score(pairs[pair], *(single[symbol] for symbol in pair)) for pair in pairs}
''',
        mistakes={
            "the-count-alone": Mistake(
                "your score is the count of the pair: that is BPE. WordPiece compares it with what chance would give.",
                (("pair_count / (left_count * right_count)", "float(pair_count)"),),
            ),
            "sum-below": Mistake(
                "you divide by the sum of the two counts. What chance would give is proportional to their product.",
                (("(left_count * right_count)", "(left_count + right_count)"),),
            ),
            "left-symbol-only": Mistake(
                "you divide by the count of the left symbol alone. A right symbol that is everywhere must lower the "
                "score, too.",
                (("(left_count * right_count)", "left_count"),),
            ),
            "product-of-the-wrong-place": Mistake(
                "you divide by the left count and multiply by the right one: both counts belong under the line.",
                (("pair_count / (left_count * right_count)", "pair_count / left_count * right_count"),),
            ),
            "words-counted-once": Mistake(
                "a symbol's count forgets how often its word occurs.",
                (("symbol_counts.get(symbol, 0) + count", "symbol_counts.get(symbol, 0) + 1"),),
            ),
            "once-in-a-word": Mistake(
                "a symbol that stands in a word several times is counted there once. Every place counts.",
                (("        for symbol in symbols:\n", "        for symbol in dict.fromkeys(symbols):\n"),),
            ),
            "symbols-with-a-successor": Mistake(
                "you count a symbol only where another one follows it. Its count is how often it occurs at all, at the "
                "end of a word and alone, too.",
                (
                    (
                        "        for symbol in symbols:\n",
                        "        symbol_counts.setdefault(symbols[-1], 1)\n        for symbol in symbols[:-1]:\n",
                    ),
                ),
            ),
        },
    ),
    "match": Proofs(
        observe="""
cased = check.observe(split_text, "Ёж, мой Naïve?! a+b", False)
uncased = check.observe(split_text, "Ёж, мой Naïve?! a+b", True)
vocab = ["un", "##aff", "##able", "##a", "u", "##n", "aff", "able"]
tokens = check.observe(longest_match, "unaffable", vocab)
unknown = check.observe(longest_match, "unab", vocab)
shorter = check.observe(longest_match, "una", vocab)
inside = check.observe(longest_match, "affun", vocab)
long = check.observe(longest_match, "u" + "n" * 100, vocab)
""",
        alternative='''
def split_text(text, lowercase):
    """The same with a loop over the characters."""
    words, new = [], True
    for character in unicodedata.normalize("NFD", text) if lowercase else text:
        if lowercase and unicodedata.category(character) == "Mn":
            continue
        if character.isspace() or is_punctuation(character):
            words += [] if character.isspace() else [character]
            new = True
            continue
        if new:
            words.append("")
        words[-1] += character.lower() if lowercase else character
        new = False
    return words


def longest_match(word, vocab, unk_token="[UNK]"):
    """The same by recursion on what is left of the word."""

    def pieces(rest, mark):
        if not rest:
            return []
        end = next((end for end in range(len(rest), 0, -1) if mark + rest[:end] in vocab), None)
        tail = None if end is None else pieces(rest[end:], "##")
        return None if tail is None else [mark + rest[:end], *tail]

    found = pieces(word, "") if len(word) <= 100 else None
    return [unk_token] if found is None else found
''',
        mistakes={
            "always-lowered": Mistake(
                "your cased model has lost case and accents. Only the uncased one forgets them.",
                (("    if lowercase:\n", "    if True:\n"),),
            ),
            "accents-kept": Mistake(
                "your uncased model lowers letters and keeps their marks. Accents go, too: taken apart by NFD, й and ё "
                "have one to Unicode.",
                (("""if unicodedata.category(character) != "Mn")""", ")"), ('"NFD"', '"NFC"')),
            ),
            "case-kept": Mistake(
                "your uncased model drops accents and keeps capital letters.",
                (("character.lower()", "character"),),
            ),
            "marks-left-on-words": Mistake(
                "punctuation stays on the words. Each mark is a word by itself.",
                ((""""".join(spaced).split()""", "text.split()"),),
            ),
            "marks-lost": Mistake(
                "punctuation marks are gone. Each of them is a word by itself.",
                (('f" {character} " if', '" " if'),),
            ),
            "unknown-tail": Mistake(
                "where nothing fits any more, only the rest of the word becomes unknown. The whole word does.",
                (
                    (
                        "            return [unk_token]\n    return",
                        "            return [*tokens, unk_token]\n    return",
                    ),
                ),
            ),
            "no-marks-inside": Mistake(
                "a token that goes on with a word is in the vocabulary with ## before it, and you look it up without.",
                (('("##" if start else "") + ', ""),),
            ),
            "shortest-match": Mistake(
                "you take the shortest token that fits. The longest one goes first: try the ends of the word from its "
                "last to the next.",
                (("range(len(word), start, -1)", "range(start + 1, len(word) + 1)"),),
            ),
            "no-limit": Mistake(
                "words of more than 100 characters are not cut at all: they are unknown.",
                (("    if len(word) > 100:\n        return [unk_token]\n", ""),),
            ),
        },
    ),
    "rows": Proofs(
        observe="""
vocab = {"[PAD]": 7, "[CLS]": 1, "[SEP]": 2, "a": 3, "b": 4}
pair = check.observe(bert_inputs, ["a"], ["b", "b"], vocab, 8)
single = check.observe(bert_inputs, ["a", "a"], [], vocab, 5)
full = check.observe(bert_inputs, ["a"], ["b"], vocab, 5)
short = check.observe(bert_inputs, ["a", "b"], ["b"], vocab, 5)
purity = check.observe(check.pure, bert_inputs, ["a"], ["b"], vocab, 6)
""",
        alternative='''
def bert_inputs(first, second, vocab, length):
    """The same column by column."""
    columns = [(token, 0) for token in ["[CLS]", *first, "[SEP]"]]
    columns.extend((token, 1) for token in ([*second, "[SEP]"] if len(second) else []))
    if len(columns) > length:
        raise ValueError(f"{len(columns)} tokens do not fit into {length}")
    rows = {"input_ids": [], "attention_mask": [], "token_type_ids": [], "position_ids": []}
    for position in range(length):
        real = position < len(columns)
        token, kind = columns[position] if real else ("[PAD]", 0)
        for name, value in zip(rows, (vocab[token], int(real), kind, position)):
            rows[name].append(value)
    return rows
''',
        mistakes={
            "last-separator-missing": Mistake(
                "the second sentence has no [SEP] at its end. Every sentence ends with one.",
                (
                    ('[*second, "[SEP]"]', "second"),
                    ("(len(second) + 1)", "len(second)"),
                ),
            ),
            "separator-of-the-wrong-sentence": Mistake(
                "the first [SEP] is counted with the second sentence. It ends the first one and has its type, 0.",
                (
                    (
                        "    types = [0] * len(tokens)\n",
                        "    types = [0] * (len(tokens) - 1) + [int(len(second) > 0)]\n",
                    ),
                ),
            ),
            "single-with-two-separators": Mistake(
                "with one sentence only, you write a second [SEP] all the same.",
                (("    if second:\n", "    if True:\n"),),
            ),
            "padding-seen": Mistake(
                "your attention_mask is 1 at padding. It tells tokens from padding: 1 where there is a token.",
                (("[1] * len(tokens) + [0] * empty", "[1] * length"),),
            ),
            "mask-inverted": Mistake(
                "your attention_mask is 1 at padding and 0 at the tokens. It is 1 where the model may look.",
                (("[1] * len(tokens) + [0] * empty", "[0] * len(tokens) + [1] * empty"),),
            ),
            "padding-of-the-second": Mistake(
                "padding has the type of the second sentence. It belongs to neither and has type 0.",
                (("types + [0] * empty", "types + types[-1:] * empty"),),
            ),
            "padding-is-always-zero": Mistake(
                "you take 0 for padding whatever the vocabulary says. Its id is that of [PAD].",
                (('[vocab["[PAD]"]] * empty', "[0] * empty"),),
            ),
            "positions-from-one": Mistake(
                "your positions count from 1. They count from 0.",
                (("list(range(length))", "list(range(1, length + 1))"),),
            ),
            "cut-silently": Mistake(
                "tokens that do not fit are cut off, and nobody is told. Too many tokens deserve an error.",
                (
                    (
                        '        raise ValueError(f"{len(tokens)} tokens: expected at most length={length}")\n',
                        "        tokens, types, empty = tokens[:length], types[:length], 0\n",
                    ),
                ),
            ),
        },
    ),
    "viterbi": Proofs(
        observe="""
scores = {"abc": -2.0, "ab": -1.4, "cd": -1.4, "a": -4.0, "b": -4.0, "c": -4.0, "d": -4.0}
best = check.observe(viterbi, "abcd", scores, 3, -99.0)
longest = check.observe(viterbi, "abc", scores, 2, -99.0)
whole = check.observe(viterbi, "abcabc", scores, 3, -99.0)
few = check.observe(viterbi, "ab", {"a": -1.0, "b": -1.0, "ab": -5.0}, 2, -99.0)
last = check.observe(viterbi, "ab", {"a": -4.0, "b": -1.0, "ab": -2.0}, 2, -99.0)
unknown = check.observe(viterbi, "axxa", {"a": -1.0}, 2, -10.0)
cheap = check.observe(viterbi, "xaba", {"a": -1.0, "ab": -3.0}, 3, -1.5)
""",
        alternative='''
def viterbi(word, scores, longest, unknown_score):
    """The same from the other end, with the pieces themselves in the table."""
    best = {len(word): (0.0, [])}
    for start in reversed(range(len(word))):
        ways = []
        for end in range(start + 1, min(start + longest, len(word)) + 1):
            piece = word[start:end]
            if piece in scores or len(piece) == 1:
                total, rest = best[end]
                ways.append((total + scores.get(piece, unknown_score), [piece, *rest]))
        best[start] = max(ways, key=lambda way: way[0])
    return best[0][1]
''',
        mistakes={
            "longest-match": Mistake(
                "you take the longest piece that fits, as WordPiece does. The sum over the whole word decides, and a "
                "shorter piece now may leave a better rest.",
                (
                    (
                        "    best = [0.0] + ",
                        "    parts, at = [], 0\n"
                        "    while at < len(word):\n"
                        "        stops = range(min(at + longest, len(word)), at, -1)\n"
                        "        stop = next((stop for stop in stops if word[at:stop] in scores), at + 1)\n"
                        "        parts, at = [*parts, word[at:stop]], stop\n"
                        "    return parts\n"
                        "    best = [0.0] + ",
                    ),
                ),
            ),
            "last-piece-only": Mistake(
                "only the last piece counts. What is before it has a score, too: the best one up to where it begins.",
                (
                    (
                        "if score is not None and best[start] + score > best[end]:",
                        "if score is not None and score > best[end]:",
                    ),
                    ("best[end] = best[start] + score", "best[end] = score"),
                ),
            ),
            "lowest-sum": Mistake(
                "you look for the lowest sum. The scores are logarithms of probabilities: negative, and the highest "
                "sum is the most probable.",
                (
                    ("[0.0] + [-math.inf]", "[0.0] + [math.inf]"),
                    ("best[start] + score > best[end]", "best[start] + score < best[end]"),
                ),
            ),
            "fewest-pieces": Mistake(
                "you look for the fewest pieces. Their scores decide: two frequent pieces may be better "
                "than a rare one.",
                (
                    ("best[start] + score > best[end]", "best[start] - 1 > best[end]"),
                    ("best[end] = best[start] + score", "best[end] = best[start] - 1"),
                ),
            ),
            "unknown-of-any-length": Mistake(
                "an unknown piece may have any length in your code. Only a single character may be unknown.",
                (("unknown_score if end == start + 1 else None", "unknown_score"),),
            ),
            "from-the-end": Mistake(
                "your pieces come in the opposite order: who walks back from the end finds the last one first.",
                (("    return pieces[::-1]", "    return pieces"),),
            ),
            "longest-not-allowed": Mistake(
                "pieces may have as many characters as longest says; yours stay below that. Look at where your range "
                "of ends stops.",
                (("min(start + longest, len(word)) + 1", "min(start + longest, len(word) + 1)"),),
            ),
            "limit-ignored": Mistake(
                "your pieces may be longer than longest allows.",
                (("min(start + longest, len(word)) + 1", "len(word) + 1"),),
            ),
        },
    ),
    "cost": Proofs(
        observe="""
vocab = ["кот", "##ы", "!", "ели", "е"]
first = check.observe(tokens_per_word, "Коты ели! Ели кота ели", vocab, True)
cased = check.observe(tokens_per_word, "Коты ели! Ели коты", vocab, False)
empty = check.observe(tokens_per_word, "  ", vocab, True)
cost = check.observe(layer_cost, 5, 4)
""",
        alternative='''
def tokens_per_word(text, vocab, lowercase):
    """The same, counting along the way."""
    words = tokens = unknown = 0
    for word in split_text(text, lowercase):
        parts = longest_match(word, vocab)
        words, tokens, unknown = words + 1, tokens + len(parts), unknown + (parts == ["[UNK]"])
    if words == 0:
        raise ValueError("no words, no mean")
    return tokens / words, unknown / words


def layer_cost(length, d_model):
    """The same, put together."""
    return 2 * length * d_model * (6 * d_model + length)
''',
        mistakes={
            "upside-down": Mistake(
                "your mean is that of words per token. Tokens per word is its inverse.",
                (("sum(map(len, tokens)) / len(words)", "len(words) / sum(map(len, tokens))"),),
            ),
            "words-by-white-space": Mistake(
                "you cut the text at white space only. The words are those of split_text, which sets punctuation apart "
                "and knows of case.",
                (("split_text(text, lowercase)", "text.split()"),),
            ),
            "every-word-once": Mistake(
                "you count each different word once. A word that occurs twice has its tokens twice.",
                (("split_text(text, lowercase)", "list(dict.fromkeys(split_text(text, lowercase)))"),),
            ),
            "unknown-left-out": Mistake(
                "you leave out unknown words. The mean is over all words, and the second number says how many of them "
                "are unknown.",
                (
                    (
                        "return sum(map(len, tokens)) / len(words)",
                        'known = [parts for parts in tokens if parts != ["[UNK]"]]\n'
                        "    return sum(map(len, known)) / max(len(known), 1)",
                    ),
                ),
            ),
            "share-of-the-tokens": Mistake(
                "your share of unknown words is a share of the tokens. Divide by the number of words.",
                (('tokens.count(["[UNK]"]) / len(words)', 'tokens.count(["[UNK]"]) / sum(map(len, tokens))'),),
            ),
            "attention-in-step": Mistake(
                "your attention grows in step with the length. Every token is compared with every other: twice the "
                "length is four times the products.",
                (("2 * length * length * d_model", "2 * length * d_model"),),
            ),
            "one-product-of-attention": Mistake(
                "attention multiplies twice: queries with keys, and then weights with values.",
                (("2 * length * length * d_model", "length * length * d_model"),),
            ),
            "one-map": Mistake(
                "the feed-forward network has two maps: one that widens, and one that comes back.",
                (("2 * length * d_model * 4 * d_model", "length * d_model * 4 * d_model"),),
            ),
            "three-projections": Mistake(
                "there are four projections: queries, keys, values, and the one behind the heads.",
                (("4 * length * d_model * d_model\n", "3 * length * d_model * d_model\n"),),
            ),
        },
    ),
}
