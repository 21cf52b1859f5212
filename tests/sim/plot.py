#!/usr/bin/python3
"""Plots the snapshots of completion times: one SVG for each RTT, a panel for each rate and buffer.

  plot.py SNAPSHOTS FOLDER      (scripts/dev snapshots --svg [FOLDER])

In a panel: loss in percent along the bottom, the share of the line's rate that the download had upwards, a line
for each congestion control.
"""
import pathlib
import sys
from html import escape

WIDTH, HEIGHT, MARGIN = 260, 190, 46
COLOURS = ["#1f6fb2", "#c8501e", "#3a8f3a", "#8a4fa3", "#7a7a7a"]


def read(folder):
    """{algorithm: {(rtt, rate, loss, buffer): share}}"""
    tables = {}
    for path in sorted(pathlib.Path(folder).glob("*.txt")):
        rows = {}
        for line in path.read_text().splitlines():
            words = line.split()
            if not words or not words[0].isdigit():
                continue
            rtt, rate, loss, buffer, _took, share = words[:6]
            rows[int(rtt), int(rate), float(loss), int(buffer)] = float(share)
        tables[path.stem] = rows
    return tables


def panel(tables, rtt, rate, buffer, left, top):
    losses = sorted({key[2] for rows in tables.values() for key in rows})
    step = WIDTH / max(1, len(losses) - 1)
    out = [f'<g transform="translate({left},{top})">',
           f'<rect width="{WIDTH}" height="{HEIGHT}" fill="none" stroke="#999"/>',
           f'<text x="{WIDTH / 2}" y="-8" text-anchor="middle">{rate} Mbit/s, buffer {buffer} % of BDP</text>']
    for share in (0, 50, 100):
        y = HEIGHT * (1 - share / 100)
        out.append(f'<line x1="0" x2="{WIDTH}" y1="{y}" y2="{y}" stroke="#ddd"/>'
                   f'<text x="-6" y="{y + 4}" text-anchor="end">{share}</text>')
    for at, loss in enumerate(losses):
        out.append(f'<text x="{at * step}" y="{HEIGHT + 16}" text-anchor="middle">{loss:g}</text>')
    for colour, (name, rows) in zip(COLOURS, tables.items()):
        points = [(at * step, HEIGHT * (1 - rows[rtt, rate, loss, buffer] / 100))
                  for at, loss in enumerate(losses) if (rtt, rate, loss, buffer) in rows]
        path = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
        out.append(f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="2">'
                   f'<title>{escape(name)}</title></polyline>')
    return out + ["</g>"]


def plot(tables, rtt):
    keys = [key for rows in tables.values() for key in rows if key[0] == rtt]
    rates, buffers = sorted({key[1] for key in keys}), sorted({key[3] for key in keys})
    width = len(rates) * (WIDTH + 2 * MARGIN)
    height = len(buffers) * (HEIGHT + 2 * MARGIN) + 40
    out = [f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" '
           'font-family="sans-serif" font-size="12"><rect width="100%" height="100%" fill="white"/>',
           f'<text x="10" y="18" font-size="14">RTT {rtt} ms: share of the line in % over loss in %</text>']
    for at, (colour, name) in enumerate(zip(COLOURS, tables)):
        out.append(f'<text x="{420 + at * 110}" y="18" fill="{colour}">{escape(name)}</text>')
    for row, buffer in enumerate(buffers):
        for column, rate in enumerate(rates):
            out += panel(tables, rtt, rate, buffer, column * (WIDTH + 2 * MARGIN) + MARGIN,
                         row * (HEIGHT + 2 * MARGIN) + MARGIN + 24)
    return "\n".join(out + ["</svg>"]) + "\n"


def main():
    snapshots, folder = sys.argv[1], pathlib.Path(sys.argv[2])
    tables = read(snapshots)
    if not tables:
        sys.exit(f"plot.py: no tables in {snapshots}")
    folder.mkdir(parents=True, exist_ok=True)
    for rtt in sorted({key[0] for rows in tables.values() for key in rows}):
        path = folder / f"rtt-{rtt}ms.svg"
        path.write_text(plot(tables, rtt))
        print(path)


if __name__ == "__main__":
    main()
