"""Tests of the reader of metrics: what is right is read, and each way to be wrong is noticed."""
import unittest

from tests.harness.prometheus import FormatError, parse

GOOD = """# HELP a_total What "was" counted.
# TYPE a_total counter
a_total{x="1",y="q\\"b\\\\n\\n"} 3
a_total{x="2",y=""} 1.5e+06
# TYPE b gauge
b -2
# HELP c Times.
# TYPE c histogram
c_count{op="put"} 3
c_sum{op="put"} 0.5
c_bucket{op="put",le="0.1"} 2
c_bucket{op="put",le="+Inf"} 3
"""


class ParseTest(unittest.TestCase):
    """Text in, numbers or an error out."""

    def test_good(self):
        scrape = parse(GOOD)
        self.assertEqual(scrape.types, {"a_total": "counter", "b": "gauge", "c": "histogram"})
        self.assertEqual(scrape.helps["a_total"], 'What "was" counted.')
        self.assertEqual(scrape.value("a_total", x="1", y='q"b\\n\n'), 3)
        self.assertEqual(scrape.value("a_total", x="2", y=""), 1.5e6)
        self.assertEqual(scrape.value("b"), -2)
        self.assertEqual(scrape.buckets("c", op="put"), [0.1])
        self.assertEqual(scrape.get("none"), 0)
        with self.assertRaises(KeyError):
            scrape.value("none")

    def test_bad(self):
        for name, text in (
                ("no newline at the end", "# TYPE a gauge\na 1"), ("no type", "a 1\n"),
                ("a blank line", "# TYPE a gauge\n\na 1\n"), ("a comment", "# what\n# TYPE a gauge\na 1\n"),
                ("another family's sample", "# TYPE a gauge\nb 1\n"), ("no sample", "# TYPE a gauge\n"),
                ("a series twice", "# TYPE a gauge\na 1\na 1\n"), ("no number", "# TYPE a gauge\na x\n"),
                ("a timestamp", "# TYPE a gauge\na 1 2\n"), ("a tab", "# TYPE a gauge\na\t1\n"),
                ("a bad escape", '# TYPE a gauge\na{x="\\t"} 1\n'), ("an open label", '# TYPE a gauge\na{x="1} 1\n'),
                ("a bad label", '# TYPE a gauge\na{1x="1"} 1\n'), ("a label twice", '# TYPE a gauge\na{x="1",x="2"} 1\n'),
                ("a negative counter", "# TYPE a counter\na -1\n"), ("an unknown type", "# TYPE a number\na 1\n"),
                ("a type twice", "# TYPE a gauge\na 1\n# TYPE a gauge\na 2\n"),
                ("help behind type", "# TYPE a gauge\n# HELP a x\na 1\n"),
                ("buckets that shrink", GOOD.replace('le="0.1"} 2', 'le="0.1"} 4')),
                ("no infinity", GOOD.replace('c_bucket{op="put",le="+Inf"} 3\n', "")),
                ("a count that does not fit", GOOD.replace('c_count{op="put"} 3', 'c_count{op="put"} 4')),
                ("no sum", GOOD.replace('c_sum{op="put"} 0.5\n', ""))):
            with self.subTest(name):
                self.assertNotEqual(text, GOOD)
                with self.assertRaises(FormatError):
                    parse(text)


if __name__ == "__main__":
    unittest.main()
