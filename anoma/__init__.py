"""Anoma's data and rules, without processes: nouns and Nock, programs, the resource machine, cryptography, matching.

Pure: no I/O, no clock. What the engines of `engines` decide, they decide with this.
"""
