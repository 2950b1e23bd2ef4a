"""Tests of the fuzzer itself, without any server: it finds planted faults, makes them short, and finds nothing else."""
import contextlib
import io
import json
import unittest

from tests.differential import v2_fuzz, v2_model
from tests.differential.v2_fuzz import ModelSide, Run
from tests.differential.v2_model import Failure, Model, Tree
from tests.differential.v2_steps import Generator

SEQUENCES, STEPS = 60, 60


class ForgetsIndex(Tree):
    def change(self, action, node, wanted):
        before = node.modified
        event = super().change(action, node, wanted)
        node.modified = before if action == "update" else node.modified
        return event


class DeletesFullDirectories(Tree):
    def delete(self, path, wanted):
        wanted.recursive = wanted.recursive or wanted.dir
        return super().delete(path, wanted)


class SwapsWhateverTheIndex(Tree):
    @staticmethod
    def mismatch(node, wanted):
        wanted.prev_index = 0
        return Tree.mismatch(node, wanted)


class RefreshWakes(Tree):
    def publish(self, action, node, old, is_refresh, removed=frozenset()):
        return super().publish(action, node, old, False, removed)


class KeepsParentsOut(Tree):
    def directory_for(self, path, index):
        try:
            return self.find(path)
        except Failure as failure:
            if failure.code == 100 and len(v2_model.names(path)) > 2:
                raise
            return super().directory_for(path, index)


class CountsFailures(Tree):
    def refuse(self, code, cause):
        raise Failure(code, cause, self.index)


class WatchesFromTooLate(Tree):
    def watch(self, watcher, since):
        return super().watch(watcher, since + 1 if since else 0)


FAULTS = (ForgetsIndex, DeletesFullDirectories, SwapsWhateverTheIndex, RefreshWakes, KeepsParentsOut, CountsFailures,
          WatchesFromTooLate)


def faulty(kind):
    def make(index=0):
        model = Model(index)
        model.tree = kind(index)
        return model
    return make


class FuzzerTest(unittest.TestCase):
    """Model against model."""

    def setUp(self):
        saved = v2_fuzz.PATIENCE_S, v2_fuzz.GLANCE_S
        v2_fuzz.PATIENCE_S = v2_fuzz.GLANCE_S = 0.0
        self.addCleanup(lambda: setattr(v2_fuzz, "PATIENCE_S", saved[0]) or setattr(v2_fuzz, "GLANCE_S", saved[1]))

    def run_until_found(self, subject):
        """The printed report of the first failing sequence; empty when there is none."""
        run = Run(ModelSide(), subject)
        said = io.StringIO()
        with contextlib.redirect_stdout(said):
            for seed in range(SEQUENCES):
                if not run.sequence(Generator(seed).steps(STEPS), seed):
                    break
        return said.getvalue(), run

    def test_finds_planted_faults_and_makes_them_short(self):
        for kind in FAULTS:
            with self.subTest(kind.__name__):
                report, run = self.run_until_found(ModelSide("faulty", faulty(kind)))
                self.assertTrue(report, "not found")
                steps = json.loads(report.rpartition("  replay ")[2])
                self.assertLessEqual(len(steps), 6, report)
                self.assertIsNotNone(run.play(steps), "the printed sequence does not fail again")

    def test_a_model_agrees_with_itself(self):
        report, run = self.run_until_found(ModelSide("twin"))
        self.assertEqual(report, "")
        self.assertEqual(run.sequences, SEQUENCES)

    def test_sequences_are_about_something(self):
        """Every outcome that the API has occurs."""
        run = self.run_until_found(ModelSide("twin"))[1]
        wanted = ["PUT set", "PUT create", "PUT update", "PUT compareAndSwap", "POST create", "DELETE delete",
                  "DELETE compareAndDelete", "GET get", "join"]
        wanted += [f"PUT {code}" for code in (100, 101, 102, 104, 105, 107, 201, 202, 203, 209, 210, 211, 212)]
        wanted += [f"DELETE {code}" for code in (100, 101, 102, 104, 107, 108)]
        self.assertEqual([name for name in wanted if not run.counts.get(name)], [])

    def test_a_seed_is_a_sequence(self):
        self.assertEqual(Generator(5).steps(50), Generator(5).steps(50))
        self.assertNotEqual(Generator(5).steps(50), Generator(6).steps(50))


if __name__ == "__main__":
    unittest.main()
