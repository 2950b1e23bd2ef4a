"""Draws the samples as an SVG, by hand: panels above each other, a line for each measure. Knows nothing of members."""
import math
from xml.sax.saxutils import escape

WIDTH, PANEL_HEIGHT = 900, 130
LEFT, RIGHT, TOP, GAP, BOTTOM = 70, 150, 50, 34, 40
POINTS_MAX = 450  # of a line; more samples are put together
COLORS = ("#1f5fa8", "#c4561e", "#3a7d44", "#7a4b9e")
INK, GRID, SHADE = "#222222", "#d8d8d8", "#f1f1ec"
SHARES = ((0.2, 0.4), (0.8, 1.0))  # what is compared is shaded


class Panel:
    """Lines over the same axis: a list of (field, title, scale)."""

    def __init__(self, title, lines):
        self.title = title
        self.lines = lines


def round_up(value):
    """The next number of the form 1, 2, 2.5 or 5 times a power of ten."""
    if value <= 0:
        return 1.0
    power = 10.0 ** math.floor(math.log10(value))
    return next(step * power for step in (1, 2, 2.5, 5, 10) if step * power >= value * (1 - 1e-9))


def number_text(value):
    return f"{value:.0f}" if value == round(value) else f"{value:g}"


def thinned(points):
    """At most POINTS_MAX points: neighbours share one, at their mean time and with their largest value."""
    size = math.ceil(len(points) / POINTS_MAX)
    groups = [points[begin:begin + size] for begin in range(0, len(points), size)]
    return [(sum(x for x, _ in group) / len(group), max(y for _, y in group)) for group in groups]


def draw(samples, panels, title):
    """The whole SVG as text. Samples have a `time` in seconds; the axis is in minutes."""
    begin = samples[0]["time"]
    span = max(samples[-1]["time"] - begin, 1e-9)
    height = TOP + len(panels) * (PANEL_HEIGHT + GAP) + BOTTOM - GAP
    plot_width = WIDTH - LEFT - RIGHT
    out = [f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" width="{WIDTH}" height="{height}" '
           f'font-family="sans-serif" font-size="12">',
           f'<rect width="{WIDTH}" height="{height}" fill="white"/>',
           text(LEFT, 20, title, size=14)]
    for number, panel in enumerate(panels):
        top = TOP + number * (PANEL_HEIGHT + GAP)
        out += draw_panel(samples, panel, top, begin, span, plot_width)
    out += draw_minutes(span, TOP + len(panels) * (PANEL_HEIGHT + GAP) - GAP, plot_width)
    return "\n".join(out + ["</svg>"]) + "\n"


def draw_panel(samples, panel, top, begin, span, plot_width):
    bottom = top + PANEL_HEIGHT
    lines = []
    for field, name, scale in panel.lines:
        lines.append((name, thinned([(sample["time"] - begin, sample[field] / scale) for sample in samples
                                     if sample[field] is not None])))
    most = round_up(max((y for _, points in lines for _, y in points), default=1))
    out = [f'<rect x="{LEFT + plot_width * first:.1f}" y="{top}" width="{plot_width * (last - first):.1f}" '
           f'height="{PANEL_HEIGHT}" fill="{SHADE}"/>' for first, last in SHARES]
    for part in range(5):
        y = bottom - PANEL_HEIGHT * part / 4
        out.append(f'<path d="M{LEFT} {y:.1f}h{plot_width}" stroke="{GRID}"/>')
        out.append(text(LEFT - 6, y + 4, number_text(most * part / 4), anchor="end"))
    out.append(text(LEFT, top - 6, panel.title))
    for number, (name, points) in enumerate(lines):
        color = COLORS[number % len(COLORS)]
        places = " ".join(f"{LEFT + plot_width * x / span:.1f},{bottom - PANEL_HEIGHT * y / most:.1f}"
                          for x, y in points)
        out.append(f'<polyline points="{places}" fill="none" stroke="{color}" stroke-width="1.3"/>')
        label_y = top + 14 + 18 * number
        out.append(f'<path d="M{LEFT + plot_width + 10} {label_y - 4}h16" stroke="{color}" stroke-width="2"/>')
        out.append(text(LEFT + plot_width + 32, label_y, name))
    return out


def draw_minutes(span, bottom, plot_width):
    minutes = span / 60
    step = round_up(minutes / 6)
    out = [text(LEFT + plot_width / 2, bottom + 32, "minutes", anchor="middle")]
    for number in range(int(minutes / step + 1e-9) + 1):
        x = LEFT + plot_width * number * step / minutes
        out.append(f'<path d="M{x:.1f} {bottom}v4" stroke="{INK}"/>')
        out.append(text(x, bottom + 17, number_text(round(number * step, 6)), anchor="middle"))
    return out


def text(x, y, words, anchor="start", size=12):
    return (f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" font-size="{size}" fill="{INK}">'
            f'{escape(words)}</text>')
