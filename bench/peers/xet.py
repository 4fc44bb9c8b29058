"""Stores files as hf_xet stores them on its servers, in a folder in their place: one upload after the other, since what two
uploads at once have in common is stored twice."""

import sys

import hf_xet

store, *files = sys.argv[1:]
session = hf_xet.XetSession()
for file in files:
    commit = session.new_upload_commit(endpoint="local://" + store)
    commit.start_upload_file(file)
    commit.wait_to_finish()
