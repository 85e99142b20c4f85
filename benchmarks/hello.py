"""The smallest script of a user, for measuring how long ``--help`` takes."""

from encord.objects import LabelRowV2

from encord_agents.tasks import Runner

runner = Runner()


@runner.stage("Work")
def agent(label_row: LabelRowV2) -> str:
    return "done"


if __name__ == "__main__":
    runner.run()
