"""What the parts agree on: names, topics, records, the pipeline document.

Pure: no client, no file, no clock is read here.
"""
