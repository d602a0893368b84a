"""The inner loops of the prefix beam search, compiled by Numba.

What the search does is told in `beam.py`; this is how. Prefixes are records in one array and know each other by
their places in it. The first use on a machine compiles for some seconds; the result is kept on disk, where there is
a place for it. All of it stands in one file because that cache does not notice when a function elsewhere has changed.
"""

from math import exp, inf, log1p
from typing import NamedTuple

import numpy as np

from asr_core.decoding.hotwords import NOTHING_READ
from asr_core.decoding.language_model import SENTENCE_END, UNKNOWN
from asr_core.decoding.prefix_tree import NO_WORD, NOWHERE
from asr_core.jit import compiled
from asr_core.text.vocabulary import BLANK

NONE = -1  # no prefix
DROPPED, KEPT, FREED = range(3)  # what a prefix is: out of the beam, in it, out of the tree
WORD_START = 0  # the empty beginning in the tree of words

# A beginning of a text, as a node in the tree of all prefixes that are still of use.
PREFIX = np.dtype(
    [
        ("parent", np.int32),  # the prefix without its last token
        ("token", np.int32),  # its last token
        ("step", np.int32),  # when the search first kept it
        ("child", np.int32),  # the latest of the prefixes that are one token longer ...
        ("sibling", np.int32),  # ... and from each of them the next
        ("status", np.int32),  # DROPPED (only longer ones are in the beam), KEPT or FREED
        ("blank", np.float64),  # log of the probability of its paths that end in a blank,
        ("label", np.float64),  # and of those that end in its last token
        ("next_blank", np.float64),  # the same, for the step that is being read
        ("next_label", np.float64),
        ("words_score", np.float64),  # what its finished words are worth
        ("word_score", np.float64),  # what its unfinished word is worth at best
        ("bonus", np.float64),  # what all its words are worth, hot ones included
        ("rank", np.float64),  # what it is ranked by: its paths and its bonus
        ("state", np.int32),  # of the language model, after the finished words
        ("node", np.int32),  # of the unfinished word in the tree of words
        ("word_length", np.int32),  # characters of the unfinished word
        ("hot_state", np.int32),  # of the hot-words' automaton
        ("letters", np.int32),  # earned by hot-words
    ]
)


class Rules(NamedTuple):
    """The settings of a search. With them go `words`, WordTables, and `phrases`, PhraseTables."""

    width: int
    score_threshold: float
    weight: float
    word_bonus: float
    unknown_word_score: float
    unknown_letter_score: float
    hot_word_boost: float
    space: int  # the token that parts words, or NONE
    code_points: np.ndarray  # int32 [tokens]
    has_model: bool
    has_hot_words: bool


class Progress(NamedTuple):
    """What changes from step to step, int32 arrays; where the comment does not say more, of one number."""

    beam: np.ndarray  # [width + 1], places of the prefixes, best first
    size: np.ndarray  # of the beam
    greedy: np.ndarray  # the text of the most probable path, which is never dropped
    last: np.ndarray  # the token of that path at the last step
    step: np.ndarray
    free: np.ndarray  # [1 + capacity], how many places in the tree are free, then which


@compiled
def log_add(a, b):
    """log(exp(a) + exp(b))."""
    if a < b:
        a, b = b, a
    return a if b == -inf else a + log1p(exp(b - a))


@compiled
def find(sorted_numbers, number, first, last):
    """Where a number stands in a part of an array, or NONE."""
    end = last
    while first < last:
        middle = (first + last) // 2
        if sorted_numbers[middle] < number:
            first = middle + 1
        else:
            last = middle
    return first if first < end and sorted_numbers[first] == number else NONE


@compiled
def score_word(words, state, number):
    """Log-probability of a word after a state, and the state after it: NGramModel.score, compiled."""
    log_prob = 0.0
    node = find(words.word, number, words.first_child[state], words.first_child[state + 1])
    while node == NONE:
        log_prob += words.backoff[state]
        state = words.shorter[state]
        node = find(words.word, number, words.first_child[state], words.first_child[state + 1])
    log_prob += words.log_prob[node]
    contexts = len(words.shorter)
    while node == NONE or node >= contexts:
        if state == 0:
            return log_prob, 0
        state = words.shorter[state]
        node = find(words.word, number, words.first_child[state], words.first_child[state + 1])
    return log_prob, node


@compiled
def score_unknown(rules, length, is_hot):
    """Log-probability of a word of `length` characters that the language model does not have.

    The letters of a hot-word cost nothing: the user has named it, so its length does not speak against it.
    """
    return rules.unknown_word_score + (0.0 if is_hot else rules.unknown_letter_score * length)


@compiled
def finish_word(rules, words, prefix, is_hot):
    """Score of all words once the last one is finished, and the state of the language model after it."""
    state = prefix.state
    if prefix.node == WORD_START:
        return prefix.words_score, state
    number = words.letter_word[prefix.node] if prefix.node != NOWHERE else NO_WORD
    log_prob, state = score_word(words, state, number if number != NO_WORD else UNKNOWN)
    if number == NO_WORD:
        log_prob = score_unknown(rules, prefix.word_length, is_hot)
    return prefix.words_score + rules.weight * log_prob + rules.word_bonus, state


@compiled
def begins_hot_word(rules, hot_state):
    """Whether an unfinished word is the beginning of a word in a hot-word phrase, after the phrase's words before it.

    Phrases begin with a space, so that any state but the first has read the whole of the unfinished word.
    """
    return rules.has_hot_words and rules.space != NONE and hot_state != NOTHING_READ


@compiled
def is_hot_word(rules, phrases, after_space):
    """Whether the word that a space has finished is a word of a hot-word phrase, by the state after that space."""
    has_words = rules.has_hot_words and rules.space != NONE
    return has_words and (phrases.earned[after_space] > 0 or phrases.credit[after_space] > 0)


@compiled
def advance_hotwords(prefix, token, phrases):
    """The state of the hot-words' automaton after one more token, and the letters earned."""
    state = phrases.following[prefix.hot_state, token]
    return state, prefix.letters + phrases.earned[state]


@compiled
def extend_word(candidates, prefix, token, rules, words, phrases):
    """Makes `longer` the prefix with one more token, and works out what its words are worth."""
    candidates.token = token
    candidates.child = NONE
    candidates.state, candidates.node, candidates.words_score = prefix.state, prefix.node, prefix.words_score
    candidates.hot_state, candidates.letters = prefix.hot_state, prefix.letters
    candidates.word_length = 0 if token == rules.space else prefix.word_length + 1
    candidates.word_score = candidates.bonus = 0.0
    if rules.has_hot_words:
        candidates.hot_state, candidates.letters = advance_hotwords(prefix, token, phrases)
    if rules.has_model:
        if token == rules.space:
            is_hot = is_hot_word(rules, phrases, candidates.hot_state)
            candidates.words_score, candidates.state = finish_word(rules, words, prefix, is_hot)
            candidates.node = WORD_START
            candidates.bonus = candidates.words_score
        else:
            likely = score_unknown(rules, candidates.word_length, begins_hot_word(rules, candidates.hot_state))
            if prefix.node != NOWHERE:
                first, last = words.letter_first_child[prefix.node], words.letter_first_child[prefix.node + 1]
                candidates.node = find(words.letter, rules.code_points[token], first, last)
                if candidates.node != NOWHERE:
                    likely = max(likely, words.letter_best[candidates.node])
            candidates.word_score = rules.weight * likely + rules.word_bonus
            candidates.bonus = candidates.words_score + candidates.word_score
    if rules.has_hot_words:
        candidates.bonus += rules.hot_word_boost * (candidates.letters + phrases.credit[candidates.hot_state])


@compiled
def child_of(tree, place, token):
    """The place of the prefix with one more token, or NONE."""
    child = tree[place].child
    while child != NONE and tree[child].token != token:
        child = tree[child].sibling
    return child


@compiled
def free_prefix(tree, place, progress):
    """Takes a prefix that nothing in the beam continues out of the tree, and what only it continued."""
    while tree[place].status == DROPPED and tree[place].child == NONE:
        parent = tree[place].parent
        if tree[parent].child == place:
            tree[parent].child = tree[place].sibling
        else:
            before = tree[parent].child
            while tree[before].sibling != place:
                before = tree[before].sibling
            tree[before].sibling = tree[place].sibling
        tree[place].status = FREED
        progress.free[0] += 1
        progress.free[progress.free[0]] = place
        place = parent


@compiled
def extend_blank(tree, progress, blank):
    """A step that can only be blank: no text changes."""
    for i in range(progress.size[0]):
        prefix = tree[progress.beam[i]]
        prefix.blank = log_add(prefix.blank, prefix.label) + blank
        prefix.label = -inf


@compiled
def after_space(prefix, rules):
    """Whether a space would change nothing: after another, and before the first letter."""
    return rules.space != NONE and (prefix.token == rules.space or prefix.parent == NONE)


@compiled
def update_beam(tree, progress, log_probs, rules):
    """Hands the probability of the prefixes in the beam on to themselves and to each other, and ranks them."""
    for i in range(progress.size[0]):
        prefix = tree[progress.beam[i]]
        all_paths = log_add(prefix.blank, prefix.label)
        prefix.next_blank = all_paths + log_probs[BLANK]
        prefix.next_label = -inf
        if after_space(prefix, rules):
            prefix.next_label = all_paths + log_probs[rules.space]
        elif prefix.parent != NONE:
            prefix.next_label = prefix.label + log_probs[prefix.token]
        if prefix.parent != NONE:
            parent = tree[prefix.parent]
            if parent.status == KEPT:
                reached = log_add(parent.blank, parent.label)
                score = new_token_score(parent, prefix.token, reached) + log_probs[prefix.token]
                prefix.next_label = log_add(prefix.next_label, score)
        prefix.rank = log_add(prefix.next_blank, prefix.next_label) + prefix.bonus


@compiled
def new_token_score(prefix, token, all_paths):
    """Log-probability of the paths after which a token is a new letter: not of those that end in it already.

    `all_paths` is that of all paths to the prefix.
    """
    return prefix.blank if token == prefix.token else all_paths


@compiled
def highest_bonus(prefix, ends_word, rules, words):
    """What words with one more token, a space or a letter, can be worth at most, known without looking them up.

    A letter can only take hope from an unfinished word; a word that ends can become as probable as 1.
    """
    if not rules.has_model:
        return 0.0
    if ends_word:
        return prefix.words_score + max(rules.word_bonus, 0.0)
    if prefix.node == WORD_START:
        likely = max(words.letter_best[WORD_START], score_unknown(rules, 1, rules.has_hot_words))
        return prefix.words_score + rules.weight * likely + rules.word_bonus
    return prefix.words_score + prefix.word_score


@compiled
def extend_all(tree, progress, log_probs, tokens, candidates, rules, words, phrases):
    """All prefixes outside the beam that may come into it: those one token longer than one inside.

    Args:
        tokens: those worth looking at, the most probable first.
        longer: room for what is found.

    Returns:
        How many there are.
    """
    size = progress.size[0]
    best_ranks = np.full(rules.width, -inf)  # a heap, the lowest first; what ranks below that cannot be kept
    highest_rank = -inf
    for i in range(size):
        rank = tree[progress.beam[i]].rank
        add_candidate(best_ranks, rank)
        highest_rank = max(highest_rank, rank)
    count = 0
    for i in range(size):
        place = progress.beam[i]
        prefix = tree[place]
        is_greedy = place == progress.greedy[0]
        all_paths = log_add(prefix.blank, prefix.label)
        highest_space = highest_bonus(prefix, True, rules, words)
        highest_letter = highest_bonus(prefix, False, rules, words)
        for token in tokens:
            if token == BLANK or (token == rules.space and after_space(prefix, rules)):
                continue
            score = new_token_score(prefix, token, all_paths) + log_probs[token]
            limit = max(best_ranks[0], highest_rank - rules.score_threshold)
            highest = score + (highest_space if token == rules.space else highest_letter)
            if rules.has_hot_words:
                hot_state, letters = advance_hotwords(prefix, token, phrases)
                highest += rules.hot_word_boost * (letters + phrases.credit[hot_state])
            if score == -inf or (highest < limit and not is_greedy):
                continue
            child = child_of(tree, place, token)
            if child != NONE and tree[child].status == KEPT:
                continue
            new = candidates[count]
            extend_word(new, prefix, token, rules, words, phrases)
            new.parent = place
            new.sibling = child  # until it is known whether it will be kept
            new.label = score
            new.rank = score + new.bonus
            add_candidate(best_ranks, new.rank)
            highest_rank = max(highest_rank, new.rank)
            count += 1
    return count


@compiled
def add_candidate(best_ranks, rank):
    """Puts a rank among the best ones, a heap whose first is the lowest, in place of that one."""
    if rank <= best_ranks[0]:
        return
    place, child = 0, 1
    while child < len(best_ranks):
        if child + 1 < len(best_ranks) and best_ranks[child + 1] < best_ranks[child]:
            child += 1
        if best_ranks[child] >= rank:
            break
        best_ranks[place] = best_ranks[child]
        place, child = child, 2 * child + 1
    best_ranks[place] = rank


@compiled
def sort(ranks, order, most):
    """Writes into `order` where the highest ranks stand, the highest first, and of equals the first; returns how many.

    By insertion, as most of them come in order; NumPy's sorting takes Numba seconds to compile.
    """
    kept = 0
    for i in range(len(ranks)):
        if kept == most:
            if ranks[i] <= ranks[order[kept - 1]]:
                continue
            kept -= 1
        at = kept
        while at > 0 and ranks[order[at - 1]] < ranks[i]:
            order[at] = order[at - 1]
            at -= 1
        order[at] = i
        kept += 1
    return kept


@compiled
def prune(tree, progress, candidates, count, best, rules):
    """Ends a step: the best prefixes make the new beam."""
    size = progress.size[0]
    old = progress.beam[:size].copy()
    old_greedy = progress.greedy[0]
    extends = best != BLANK and best != progress.last[0]
    extends = extends and not (best == rules.space and after_space(tree[old_greedy], rules))
    if extends:
        progress.greedy[0] = child_of(tree, old_greedy, best)  # if it is not in the beam, it will be adopted
    ranks = np.empty(size + count)
    greedy = NONE
    for i in range(size):
        prefix = tree[old[i]]
        prefix.blank, prefix.label = prefix.next_blank, prefix.next_label
        prefix.status = DROPPED
        ranks[i] = prefix.rank
        if old[i] == progress.greedy[0]:
            greedy = i
    for i in range(count):
        ranks[size + i] = candidates[i].rank
        if extends and candidates[i].parent == old_greedy and candidates[i].token == best:
            greedy = size + i

    order = np.empty(rules.width + 1, np.int64)
    kept = sort(ranks, order, rules.width)
    while ranks[order[kept - 1]] < ranks[order[0]] - rules.score_threshold:
        kept -= 1
    place = 0
    while place < kept and order[place] != greedy:
        place += 1
    if place == kept and greedy != NONE:
        order[kept] = greedy
        kept += 1
    for i in range(kept):
        if order[i] < size:
            place = old[order[i]]
            tree[place].status = KEPT
        else:
            place = insert_prefix(tree, progress, candidates[order[i] - size])
        progress.beam[i] = place
        if order[i] == greedy:
            progress.greedy[0] = place
    progress.size[0] = kept
    for place in old:
        if tree[place].status == DROPPED:
            free_prefix(tree, place, progress)


@compiled
def insert_prefix(tree, progress, new):
    """Gives a new prefix its place in the tree, unless it has one because longer ones are in the beam."""
    place = new.sibling
    if place == NONE:
        place = progress.free[progress.free[0]]
        progress.free[0] -= 1
        tree[place] = new
        tree[place].sibling = tree[new.parent].child
        tree[new.parent].child = place
        tree[place].step = progress.step[0]
    prefix = tree[place]
    prefix.status = KEPT
    prefix.label, prefix.rank = new.label, new.rank
    prefix.blank = -inf
    return place


@compiled
def finish(tree, progress, rules, words, phrases, ends_sentence):
    """What each prefix of the beam is worth as a whole text: acoustic, words, hot-words; float64 [size, 3]."""
    scores = np.zeros((progress.size[0], 3))
    for i in range(len(scores)):
        prefix = tree[progress.beam[i]]
        scores[i, 0] = log_add(prefix.blank, prefix.label)
        ended = prefix.hot_state
        if rules.has_hot_words and prefix.token != rules.space and rules.space != NONE:
            ended = phrases.following[prefix.hot_state, rules.space]
        if rules.has_model:
            total, state = finish_word(rules, words, prefix, is_hot_word(rules, phrases, ended))
            scores[i, 1] = total
            if ends_sentence:
                scores[i, 1] += rules.weight * score_word(words, state, SENTENCE_END)[0]
        if rules.has_hot_words:
            earned = phrases.earned[ended] if ended != prefix.hot_state else 0
            scores[i, 2] = rules.hot_word_boost * (prefix.letters + earned)
    return scores


@compiled
def history(tree, place):
    """The tokens of a prefix from the first to the last, and the steps at which each was first kept."""
    length = 0
    at = place
    while tree[at].parent != NONE:
        length += 1
        at = tree[at].parent
    tokens, steps = np.empty(length, np.int32), np.empty(length, np.int32)
    while length:
        length -= 1
        tokens[length], steps[length] = tree[place].token, tree[place].step
        place = tree[place].parent
    return tokens, steps


@compiled
def advance(log_probs, order, worth, tree, progress, rules, words, phrases):
    """Reads steps until the last or until the tree is full; returns how many.

    Args:
        log_probs: float32 [steps, tokens].
        order: int64 [steps, tokens], the tokens of each step, the most probable first.
        worth: int64 [steps], how many of them are worth looking at, at least one.
    """
    steps, vocabulary = log_probs.shape
    candidates = np.empty((rules.width + 1) * vocabulary, PREFIX)
    for step in range(steps):
        if progress.free[0] <= rules.width:
            return step
        row, tokens = log_probs[step], order[step, : worth[step]]
        best = tokens[0]
        if len(tokens) == 1 and best == BLANK:
            extend_blank(tree, progress, row[BLANK])
        else:
            update_beam(tree, progress, row, rules)
            count = extend_all(tree, progress, row, tokens, candidates, rules, words, phrases)
            prune(tree, progress, candidates, count, best, rules)
        progress.last[0] = best
        progress.step[0] += 1
    return steps
