"""What a run found, for people."""

from __future__ import annotations

from collections import defaultdict

from faults.run import Done, Result


def report(result: Result) -> str:
    """Several lines, each ended."""
    verdict, findings, summary = result.findings.verdict, result.findings, result.summary
    lines = [
        (
            f"{summary['sent']:,} clicks sent, {findings.accepted:,} accepted, {result.again:,} of them once more long "
            "after"
        ),
        f"{len(result.done)} faults, {findings.dead_letters:,} dead letters",
        f"{result.poison:,} poisoned records, {sum(result.answers.values()):,} poisoned requests",
        f"the slowest answer to one of them while no fault was at work took {result.slowest_answer:.2f} s",
        (
            f"{verdict.elasticsearch:,} clicks in Elasticsearch, {verdict.postgres:,} in PostgreSQL, "
            f"{verdict.sessions:,} sessions"
        ),
        *findings.notes,
        "recovery after the end of a fault (s), by family:",
        *_recovery(result.done),
        f"lost {verdict.lost}, doubled {verdict.duplicated}, phantom {verdict.phantom}",
        *verdict.lines(),
        *(f"trouble: {each}" for each in result.trouble),
        "nothing is wrong" if result.ok else "THIS IS WRONG",
    ]
    return "\n".join(lines) + "\n"


def _recovery(done: list[Done]) -> list[str]:
    families: dict[str, list[Done]] = defaultdict(list)
    for each in done:
        families[each.fault.family].append(each)
    lines = []
    for family, all_of_it in sorted(families.items()):
        times = sorted(each.recovered for each in all_of_it if each.recovered is not None)
        late = len(all_of_it) - len(times)
        told = f"median {times[len(times) // 2]:.1f}, longest {times[-1]:.1f}" if times else "none in time"
        lines.append(f"  {family:<10} {len(all_of_it):>3}  {told}{f', {late} not in time' if late else ''}")
    return lines
