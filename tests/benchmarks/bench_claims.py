"""What a claim costs, on the disk of the temporary folder; the aim is under 1 ms. Nothing is asserted about time.

make bench FILE=tests/benchmarks/bench_claims.py
"""

from __future__ import annotations

from itertools import count

from robustbench_ms.evaluation.claims import Claims


def bench_a_claim_and_its_release(benchmark, tmp_path):
    claims, number = Claims(tmp_path), count()

    def once():
        subject = str(next(number))
        assert claims.claim("protocol", subject)
        claims.release("protocol", subject)

    benchmark(once)


def bench_a_claim_beside_a_thousand(benchmark, tmp_path):
    """The kernel looks through all the locks of a file."""
    claims, number = Claims(tmp_path), count(1000)
    for held in range(1000):
        assert claims.claim("protocol", str(held))

    def once():
        subject = str(next(number))
        assert claims.claim("protocol", subject)
        claims.release("protocol", subject)

    benchmark(once)
