"""The inner loops of the prefix beam search, compiled by Numba.

`asr_core.decoding.plain_beam_search` specifies the search; this module does the same with less work. Prefixes are
records in one array, refer to each other by their places in it, and form a tree: the parent of a prefix is the prefix
without its last token. The compiled functions stand in one file because Numba's cache does not notice when a function
in another file has changed.
"""

from math import exp, inf, log1p
from typing import NamedTuple

import numpy as np

from asr_core.decoding.arpa import LN_10
from asr_core.decoding.hotwords import NOTHING_READ
from asr_core.decoding.language_model import SENTENCE_END, UNKNOWN
from asr_core.decoding.prefix_tree import NO_WORD, NOWHERE
from asr_core.jit import compiled
from asr_core.text.vocabulary import BLANK

NONE = -1  # the place of no prefix, and the token of no space
DROPPED, KEPT, FREED = range(3)  # status of a prefix: only descendants are in the beam; it is in it; its place is free
NO_CONTEXT, FIRST_CONTEXT = range(2)  # places of contexts: of no word, and that with which a search begins
KEY_FACTOR, WORD_FACTOR = np.uint64(8978948897894561157), np.uint64(17894857484156487943)  # of KenLM's hash
KEY_UNITS = 2  # four bytes each, of the key in front of an n-gram of a file of KenLM
WORD_START = 0  # the root of the tree of words, where no character of a word has been read yet

# A hypothesis during the search: a prefix, that is, the beginning of a text. All scores are in nats.
PREFIX = np.dtype(
    [
        ("parent", np.int32),  # place of the prefix without the last token
        ("token", np.int32),  # the last token
        ("step", np.int32),  # the step at which the prefix first came into the beam
        ("child", np.int32),  # place of the latest prefix that is one token longer, or NONE
        ("sibling", np.int32),  # place of the next prefix with the same parent, or NONE
        ("status", np.int32),  # DROPPED, KEPT or FREED
        ("blank", np.float64),  # log-probability of all paths that end in blank
        ("non_blank", np.float64),  # log-probability of all paths that end in the last token
        ("next_blank", np.float64),  # `blank` after the current step
        ("next_non_blank", np.float64),  # `non_blank` after the current step
        ("finished_score", np.float64),  # language model score of the finished words
        ("unfinished_score", np.float64),  # score of the most probable word, or of an unknown one, that begins so
        ("fusion_score", np.float64),  # what language model and hotwords add to the rank (shallow fusion)
        ("rank", np.float64),  # the score for pruning: log-probability of all paths, and fusion_score
        ("lm_state", np.int32),  # state of the language model after the finished words
        ("word_node", np.int32),  # node of the unfinished word in the tree of words
        ("word_length", np.int32),  # characters of the unfinished word
        ("hot_state", np.int32),  # state of the automaton of the hotwords
        ("letters", np.int32),  # letters of the hotwords that are finished
    ]
)


class SearchSettings(NamedTuple):
    """The options of a search, as compiled code needs them (see `asr_core.decoding.options.DecoderOptions`)."""

    beam_width: int
    score_threshold: float
    language_model_weight: float
    word_bonus: float
    unknown_word_score: float
    unknown_letter_score: float
    hot_word_boost: float
    space: int  # the token between words, or NONE
    begins_word: np.ndarray  # bool [tokens], whether a new word begins with a token
    first_letter: np.ndarray  # int32 [tokens + 1], where the letters of each token begin
    letters: np.ndarray  # int32, the characters of all tokens but spaces, one token after the other
    has_edges: bool  # whether hotwords stand between spaces
    has_model: bool
    has_hot_words: bool


class Beam(NamedTuple):
    """The state of a search between two steps: int32 arrays, of one element where no shape is given."""

    prefixes: np.ndarray  # [beam_width + 1], places of the prefixes in the beam, best first
    size: np.ndarray  # number of prefixes in the beam
    greedy: np.ndarray  # place of the prefix of the greedy path, which is never pruned
    last: np.ndarray  # token of the greedy path at the last step
    step: np.ndarray  # number of steps that are done
    free: np.ndarray  # [1 + capacity], number of free places in the tree, then these places


@compiled
def log_add(a, b):
    """log(exp(a) + exp(b))."""
    if a < b:
        a, b = b, a
    return a if b == -inf else a + log1p(exp(b - a))


@compiled
def find(sorted_numbers, number, first, last):
    """The index of a number in a sorted array, between `first` and before `last`, or NONE (binary search)."""
    end = last
    while first < last:
        middle = (first + last) // 2
        if sorted_numbers[middle] < number:
            first = middle + 1
        else:
            last = middle
    return first if first < end and sorted_numbers[first] == number else NONE


@compiled
def combine(key, word):
    """KenLM's hash of an n-gram and one more word before it; both uint64."""
    return (key * KEY_FACTOR) ^ ((word + np.uint64(1)) * WORD_FACTOR)


@compiled
def find_ngram(words, length, key):
    """Where an n-gram lies in the file, in units of four bytes, or NONE; `key` is KenLM's hash of its words."""
    if length == 1:  # no table of hashes: the key is the word, and the entry has no key in front
        return words.places[0, 0] + 2 * np.int64(key) - KEY_UNITS
    first, buckets = words.places[length - 1, 0], words.places[length - 1, 1]
    units = KEY_UNITS + (1 if length == len(words.places) else 2)
    bucket = np.int64(key % np.uint64(buckets))
    for _ in range(buckets):
        at = first + units * bucket
        found = np.uint64(words.ints[at]) | (np.uint64(words.ints[at + 1]) << np.uint64(32))
        if found == key:
            return at
        if found == np.uint64(0):
            return NONE
        bucket = bucket + 1 if bucket + 1 < buckets else 0
    return NONE


@compiled
def score_hashed(words, state, number):
    """As `score_word`, for a model in a file of KenLM: state and result are places in `words.contexts`.

    An entry has its log10 probability, whose sign is a mark of KenLM's, and its back-off weight after the key.
    """
    context, order = words.contexts[state], len(words.places)
    word = np.uint64(words.ids[number])
    key, length = word, 1
    log_prob = -abs(words.floats[find_ngram(words, 1, key) + KEY_UNITS])
    while length < order and context[length - 1] != 0:
        key = combine(key, np.uint64(context[length - 1] - 1))
        at = find_ngram(words, length + 1, key)
        if at == NONE:
            break
        log_prob = -abs(words.floats[at + KEY_UNITS])
        length += 1
    key = np.uint64(0)
    for i in range(order - 1):  # the back-off weights of the contexts that are as long as the n-gram, or longer
        if context[i] == 0:
            break
        earlier = np.uint64(context[i] - 1)
        key = earlier if i == 0 else combine(key, earlier)
        at = find_ngram(words, i + 1, key)
        if at == NONE:
            break
        if i + 1 >= length:
            log_prob += words.floats[at + KEY_UNITS + 1]
    return log_prob * LN_10, context_after(words, state, np.int64(word) + 1, length)


@compiled
def context_after(words, state, word, length):
    """The place of the context after an n-gram of `length` words that ends with `word`, added if it is new.

    `word` is KenLM's number plus 1; the words before it are those of `state`. NO_CONTEXT if the table is full.
    """
    width = min(length, words.contexts.shape[1])
    key = np.uint64(word)
    for i in range(1, width):
        key = combine(key, np.uint64(words.contexts[state, i - 1]))
    slots = len(words.context_index)
    slot = np.int64(key % np.uint64(slots))
    while words.context_index[slot] != NONE:
        place = words.context_index[slot]
        same = words.contexts[place, 0] == word
        for i in range(1, words.contexts.shape[1]):
            same = same and words.contexts[place, i] == (words.contexts[state, i - 1] if i < width else 0)
        if same:
            return np.int64(place)
        slot = slot + 1 if slot + 1 < slots else 0
    place = words.context_count[0]
    if place == len(words.contexts):
        return np.int64(NO_CONTEXT)
    words.context_count[0] += 1
    words.context_index[slot] = place
    words.contexts[place, 0] = word
    for i in range(1, width):
        words.contexts[place, i] = words.contexts[state, i - 1]
    return np.int64(place)


@compiled
def score_word(words, state, number):
    """Log-probability of a word in a language model state, in nats, and the next state: `score` of NGramModel or
    KenlmModel, compiled.
    """
    if len(words.places):
        return score_hashed(words, state, number)
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
def score_unknown(settings, length, is_hot):
    """Score of a word of `length` characters that the language model does not have.

    The letters of a hotword are free: the user has given the word, so a long one is as credible as a short one.
    """
    return settings.unknown_word_score + (0.0 if is_hot else settings.unknown_letter_score * length)


@compiled
def finish_word(settings, words, prefix, is_hot):
    """Language model score of a prefix once its last word is finished, and the state of the model after that word."""
    state = prefix.lm_state
    if prefix.word_node == WORD_START:
        return prefix.finished_score, state
    number = words.letter_word[prefix.word_node] if prefix.word_node != NOWHERE else NO_WORD
    log_prob, state = score_word(words, state, number if number != NO_WORD else UNKNOWN)
    if number == NO_WORD:
        log_prob = score_unknown(settings, prefix.word_length, is_hot)
    return prefix.finished_score + settings.language_model_weight * log_prob + settings.word_bonus, state


@compiled
def begins_hot_word(settings, hot_state):
    """Whether an unfinished word, with the words before it, is the beginning of a hotword phrase.

    Phrases begin with a space, so that every state but the first stands for the whole of the unfinished word.
    """
    return settings.has_hot_words and settings.has_edges and hot_state != NOTHING_READ


@compiled
def after_edge(prefix, settings, phrases):
    """The state of the automaton after the space, or the mark of the next word, that finishes a prefix's last word."""
    return phrases.following[prefix.hot_state, phrases.edge[0]] if settings.has_edges else prefix.hot_state


@compiled
def is_hot_word(settings, phrases, after_space):
    """Whether a space has finished a word of a hotword phrase; `after_space` is the automaton's state after it."""
    has_words = settings.has_hot_words and settings.has_edges
    return has_words and (phrases.earned[after_space] > 0 or phrases.provisional[after_space] > 0)


@compiled
def advance_hotwords(prefix, token, phrases):
    """The state of the automaton after one more token, and the letters of the hotwords that are then finished."""
    state, letters = prefix.hot_state, prefix.letters
    for i in range(phrases.first_symbol[token], phrases.first_symbol[token + 1]):
        state = phrases.following[state, phrases.symbols[i]]
        letters += phrases.earned[state]
    return state, letters


@compiled
def extend_prefix(candidate, prefix, token, settings, words, phrases):
    """Writes into `candidate` the prefix with one more token, and its fusion score."""
    candidate.token = token
    candidate.child = NONE
    candidate.lm_state, candidate.word_node = prefix.lm_state, prefix.word_node
    candidate.finished_score = prefix.finished_score
    candidate.hot_state, candidate.letters = prefix.hot_state, prefix.letters
    candidate.word_length = prefix.word_length
    candidate.unfinished_score = candidate.fusion_score = 0.0
    if settings.has_hot_words:
        candidate.hot_state, candidate.letters = advance_hotwords(prefix, token, phrases)
    if token == settings.space or settings.begins_word[token]:
        candidate.word_length = 0
        if settings.has_model:
            is_hot = is_hot_word(settings, phrases, after_edge(prefix, settings, phrases))
            candidate.finished_score, candidate.lm_state = finish_word(settings, words, prefix, is_hot)
            candidate.word_node = WORD_START
    first, last = settings.first_letter[token], settings.first_letter[token + 1]
    candidate.word_length += last - first
    if settings.has_model:
        if last > first:
            read_letters(candidate, first, last, settings, words)
        candidate.fusion_score = candidate.finished_score + candidate.unfinished_score
    if settings.has_hot_words:
        letters = candidate.letters + phrases.provisional[candidate.hot_state]
        candidate.fusion_score += settings.hot_word_boost * letters


@compiled
def read_letters(candidate, first, last, settings, words):
    """Moves a prefix through the tree of words by the letters `first` to before `last`, and scores the word so far."""
    word_score = score_unknown(settings, candidate.word_length, begins_hot_word(settings, candidate.hot_state))
    node = candidate.word_node
    for i in range(first, last):
        if node != NOWHERE:
            children = words.letter_first_child[node], words.letter_first_child[node + 1]
            node = find(words.letter, settings.letters[i], children[0], children[1])
    if node != NOWHERE:
        word_score = max(word_score, words.letter_best[node])
    candidate.word_node = node
    candidate.unfinished_score = settings.language_model_weight * word_score + settings.word_bonus


@compiled
def child_of(tree, place, token):
    """The place of the prefix with one more token, or NONE if the tree does not have it."""
    child = tree[place].child
    while child != NONE and tree[child].token != token:
        child = tree[child].sibling
    return child


@compiled
def free_prefix(tree, place, beam):
    """Removes from the tree a dropped prefix without children, and the ancestors that have no other child."""
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
        beam.free[0] += 1
        beam.free[beam.free[0]] = place
        place = parent


@compiled
def extend_blank(tree, beam, blank):
    """Advances by a step at which all other tokens are pruned: no prefix gets longer.

    Args:
        blank: log-probability of blank at the step.
    """
    for i in range(beam.size[0]):
        prefix = tree[beam.prefixes[i]]
        prefix.blank = log_add(prefix.blank, prefix.non_blank) + blank
        prefix.non_blank = -inf


@compiled
def space_changes_nothing(prefix, settings):
    """Whether a space leaves a prefix as it is: after another space, and before the first letter."""
    return settings.space != NONE and (prefix.token == settings.space or prefix.parent == NONE)


@compiled
def update_beam(tree, beam, log_probs, settings):
    """Scores the prefixes in the beam after a step, and ranks them.

    The paths of a prefix after the step come from its own paths and, where its parent is in the beam, from those of the
    parent, which end in the new token.
    """
    for i in range(beam.size[0]):
        prefix = tree[beam.prefixes[i]]
        all_paths = log_add(prefix.blank, prefix.non_blank)
        prefix.next_blank = all_paths + log_probs[BLANK]
        prefix.next_non_blank = -inf
        if space_changes_nothing(prefix, settings):
            prefix.next_non_blank = all_paths + log_probs[settings.space]
        elif prefix.parent != NONE:
            prefix.next_non_blank = prefix.non_blank + log_probs[prefix.token]
        if prefix.parent != NONE:
            parent = tree[prefix.parent]
            if parent.status == KEPT:
                reached = log_add(parent.blank, parent.non_blank)
                score = new_token_score(parent, prefix.token, reached) + log_probs[prefix.token]
                prefix.next_non_blank = log_add(prefix.next_non_blank, score)
        prefix.rank = log_add(prefix.next_blank, prefix.next_non_blank) + prefix.fusion_score


@compiled
def new_token_score(prefix, token, all_paths):
    """Log-probability of the paths of a prefix that a token makes longer, before the token's own probability.

    For the prefix's own last token, these are the paths that end in blank; for any other token, they are all paths,
    whose log-probability is `all_paths`.
    """
    return prefix.blank if token == prefix.token else all_paths


@compiled
def fusion_score_limits(prefix, settings, words):
    """Upper limits of the language model score of a prefix with one more token, without a look-up.

    A letter cannot raise the score that the unfinished word can still reach. A space finishes the word, whose
    log-probability is at most 0. A token that begins a word does so too, and adds the best word that there is.

    Returns:
        The limits after letters, after a space, and after a token that begins a word.
    """
    if not settings.has_model:
        return 0.0, 0.0, 0.0
    finished = prefix.finished_score + max(settings.word_bonus, 0.0)
    word_score = max(words.letter_best[WORD_START], score_unknown(settings, 1, settings.has_hot_words))
    new_word = settings.language_model_weight * word_score + settings.word_bonus
    letter = prefix.finished_score + (new_word if prefix.word_node == WORD_START else prefix.unfinished_score)
    return letter, finished, finished + max(new_word, 0.0)


@compiled
def extend_all(tree, beam, log_probs, tokens, candidates, settings, words, phrases):
    """Finds the candidates of a step: prefixes that are one token longer than one in the beam, and not in it yet.

    Those that cannot survive pruning are left out before their words are looked up.

    Args:
        log_probs: float32 [tokens].
        tokens: the tokens that survive pruning by `token_threshold`, the most probable first.
        candidates: PREFIX [n]; the candidates are written to its beginning.

    Returns:
        The number of candidates.
    """
    size = beam.size[0]
    best_ranks = np.full(settings.beam_width, -inf)  # a heap, the lowest first; what ranks below it is pruned
    highest_rank = -inf
    for i in range(size):
        rank = tree[beam.prefixes[i]].rank
        push_rank(best_ranks, rank)
        highest_rank = max(highest_rank, rank)
    count = 0
    for i in range(size):
        place = beam.prefixes[i]
        prefix = tree[place]
        is_greedy = place == beam.greedy[0]
        all_paths = log_add(prefix.blank, prefix.non_blank)
        highest_letter, highest_space, highest_start = fusion_score_limits(prefix, settings, words)
        for token in tokens:
            if token == BLANK or (token == settings.space and space_changes_nothing(prefix, settings)):
                continue
            score = new_token_score(prefix, token, all_paths) + log_probs[token]
            limit = max(best_ranks[0], highest_rank - settings.score_threshold)
            if token == settings.space:
                highest = score + highest_space
            else:
                highest = score + (highest_start if settings.begins_word[token] else highest_letter)
            if settings.has_hot_words:
                hot_state, letters = advance_hotwords(prefix, token, phrases)
                highest += settings.hot_word_boost * (letters + phrases.provisional[hot_state])
            if score == -inf or (highest < limit and not is_greedy):
                continue
            child = child_of(tree, place, token)
            if child != NONE and tree[child].status == KEPT:
                continue
            new = candidates[count]
            extend_prefix(new, prefix, token, settings, words, phrases)
            new.parent = place
            new.sibling = child  # until `prune`: the place of this prefix if the tree holds it as dropped, or NONE
            new.non_blank = score
            new.rank = score + new.fusion_score
            push_rank(best_ranks, new.rank)
            highest_rank = max(highest_rank, new.rank)
            count += 1
    return count


@compiled
def push_rank(best_ranks, rank):
    """Replaces the lowest of the best ranks, which is the first of the heap, by a higher rank."""
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
def sort(ranks, order, most, lowest):
    """Writes the indices of the `most` highest ranks, of those that are not below `lowest`, into `order`.

    The highest comes first, and of equal ranks the first. This is insertion sort: most ranks come in order already, and
    Numba takes seconds to compile NumPy's functions.

    Returns:
        How many there are.
    """
    kept = 0
    for i in range(len(ranks)):
        if ranks[i] < lowest:
            continue
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
def prune(tree, beam, candidates, count, best, settings):
    """Ends a step: the best prefixes make the new beam, and the tree loses those that are no longer needed.

    Kept are `beam_width` prefixes that are no more than `score_threshold` below the best, and that of the greedy path.

    Args:
        candidates: PREFIX [n], of which the first `count` are candidates.
        best: the most probable token of the step.
    """
    size = beam.size[0]
    old = beam.prefixes[:size].copy()
    old_greedy = beam.greedy[0]
    extends = best != BLANK and best != beam.last[0]
    extends = extends and not (best == settings.space and space_changes_nothing(tree[old_greedy], settings))
    if extends:
        # Where this is NONE or a dropped prefix, a candidate takes its place below.
        beam.greedy[0] = child_of(tree, old_greedy, best)
    ranks = np.empty(size + count)
    greedy = NONE
    for i in range(size):
        prefix = tree[old[i]]
        prefix.blank, prefix.non_blank = prefix.next_blank, prefix.next_non_blank
        prefix.status = DROPPED
        ranks[i] = prefix.rank
        if old[i] == beam.greedy[0]:
            greedy = i
    for i in range(count):
        ranks[size + i] = candidates[i].rank
        if extends and candidates[i].parent == old_greedy and candidates[i].token == best:
            greedy = size + i

    order = np.empty(settings.beam_width + 1, np.int64)
    kept = sort(ranks, order, settings.beam_width, -inf)
    while ranks[order[kept - 1]] < ranks[order[0]] - settings.score_threshold:
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
            place = insert_prefix(tree, beam, candidates[order[i] - size])
        beam.prefixes[i] = place
        if order[i] == greedy:
            beam.greedy[0] = place
    beam.size[0] = kept
    for place in old:
        if tree[place].status == DROPPED:
            free_prefix(tree, place, beam)


@compiled
def insert_prefix(tree, beam, new):
    """Puts a candidate into the beam; returns its place in the tree, which it may have already from its descendants."""
    place = new.sibling
    if place == NONE:
        place = beam.free[beam.free[0]]
        beam.free[0] -= 1
        tree[place] = new
        tree[place].sibling = tree[new.parent].child
        tree[new.parent].child = place
        tree[place].step = beam.step[0]
    prefix = tree[place]
    prefix.status = KEPT
    prefix.non_blank, prefix.rank = new.non_blank, new.rank
    prefix.blank = -inf
    return place


@compiled
def finish(tree, beam, settings, words, phrases, ends_sentence):
    """The scores of each prefix in the beam as a whole text, whose last word is finished: float64 [size, 3].

    They are the acoustic score, that of the language model and that of the hotwords.

    Args:
        ends_sentence: whether the language model also scores the end of the sentence.
    """
    scores = np.zeros((beam.size[0], 3))
    for i in range(len(scores)):
        prefix = tree[beam.prefixes[i]]
        scores[i, 0] = log_add(prefix.blank, prefix.non_blank)
        scores[i, 1], scores[i, 2] = finished_scores(prefix, settings, words, phrases, ends_sentence)
    return scores


@compiled
def finished_scores(prefix, settings, words, phrases, ends_sentence):
    """The scores of language model and hotwords for a prefix as a whole text, whose last word is finished."""
    total = hot_word_score = 0.0
    hot_state = prefix.hot_state
    if settings.has_hot_words and prefix.token != settings.space:
        hot_state = after_edge(prefix, settings, phrases)
    if settings.has_model:
        total, state = finish_word(settings, words, prefix, is_hot_word(settings, phrases, hot_state))
        if ends_sentence:
            total += settings.language_model_weight * score_word(words, state, SENTENCE_END)[0]
    if settings.has_hot_words:
        earned = phrases.earned[hot_state] if hot_state != prefix.hot_state else 0
        hot_word_score = settings.hot_word_boost * (prefix.letters + earned)
    return total, hot_word_score


@compiled
def score_text(tokens, root, settings, words, phrases, ends_sentence):
    """The scores of language model and hotwords that a search gives to a whole text.

    Args:
        tokens: int32 [tokens], the text.
        root: PREFIX [1], the empty prefix of the search.
        ends_sentence: as for `finish`.
    """
    prefixes = np.empty(2, PREFIX)
    prefixes[0] = root[0]
    for i in range(len(tokens)):
        extend_prefix(prefixes[(i + 1) % 2], prefixes[i % 2], tokens[i], settings, words, phrases)
    return finished_scores(prefixes[len(tokens) % 2], settings, words, phrases, ends_sentence)


@compiled
def history(tree, place):
    """The tokens of a prefix, and the step at which each came into the beam: int32 [tokens] twice.

    Backpointers are the parents of the prefixes.
    """
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
def rank_tokens(log_probs, threshold, order):
    """Finds the tokens of each step that may extend a prefix: the most probable one, and those above a threshold.

    Args:
        log_probs: float32 [steps, tokens].
        threshold: pruning threshold, in nats.
        order: int64 [steps, most]; the tokens are written to the beginning of each row, the most probable first.

    Returns:
        How many there are at each step, int64 [steps]: at least one, and no more than fit into a row.
    """
    steps, most = order.shape
    counts = np.zeros(steps, np.int64)
    for step in range(steps):
        row = log_probs[step]
        counts[step] = sort(row, order[step], most, threshold) or sort(row, order[step], 1, -inf)
    return counts


@compiled
def advance(log_probs, order, counts, tree, beam, settings, words, phrases):
    """Advances the search by some steps, until the last or until the tree is full; returns how many.

    Args:
        log_probs: float32 [steps, tokens], blank penalty included.
        order: int64 [steps, most], the tokens of each step that survive pruning, the most probable first.
        counts: int64 [steps], how many they are, at least one.
        tree: PREFIX [capacity], updated in place.
        beam: Beam, updated in place.
        settings: SearchSettings.
        words: WordTables of the language model.
        phrases: PhraseTables of the hotwords.
    """
    steps, most = order.shape
    candidates = np.empty((settings.beam_width + 1) * most, PREFIX)
    for step in range(steps):
        if beam.free[0] <= settings.beam_width:
            return step
        row, tokens = log_probs[step], order[step, : counts[step]]
        best = tokens[0]
        if len(tokens) == 1 and best == BLANK:
            extend_blank(tree, beam, row[BLANK])
        else:
            update_beam(tree, beam, row, settings)
            count = extend_all(tree, beam, row, tokens, candidates, settings, words, phrases)
            prune(tree, beam, candidates, count, best, settings)
        beam.last[0] = best
        beam.step[0] += 1
    return steps
