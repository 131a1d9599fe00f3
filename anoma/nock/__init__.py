"""Nouns and Nock: `noun`, `jam`, `mug`, the evaluator with gas and scry, and the standard library's jets."""
