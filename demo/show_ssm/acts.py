# Copyright (c) 2026, the keyturn.runbooks contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The acts: what is run, why, and what is counted meanwhile."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta, timezone

from cloudtrail_api import CloudTrailApi, serving
from estate.processes import wait_until
from show.story import Broken

from show_ssm.containers import LEFT, SETTING
from show_ssm.database import readable
from show_ssm.figures import Figure, written
from show_ssm.film import Film
from show_ssm.incident import reads, stamp, strangers_missing, summary
from show_ssm.scene import PRODUCTION, UNCLAIMED, Scene

FORCE = ("-e", "keyturn_force=true")
LIMIT = "--limit"
INCIDENT = ("-e", "keyturn_reason=INC-42")
ROTATED = {
    "db_password": "DB_PASSWORD",
    "webhook_secret_key": "WEBHOOK_SECRET_KEY",
    "runner_token": "RUNNER_TOKEN",
}
COUNTERS = ("logins", "failed_logins", "transactions", "failed_transactions")


class Acts:
    """Plays them.

    :ivar figures: what is claimed.
    :ivar rotations: whether each brought another value.
    :ivar retired: whether each value that was replaced was ended.
    """

    def __init__(self, scene: Scene, film: Film) -> None:
        self.scene, self.film = scene, film
        self.figures: list[Figure] = []
        self.rotations: list[bool] = []
        self.retired: list[bool] = []

    def all(self) -> tuple[Callable[[], None], ...]:
        """In their order."""
        first = (self.bootstrap, self.database, self.webhooks, self.runner)
        return (*first, self.images, self.audit, self.compromise)

    def claim(self, name: str, counted: int, of: int, what: str) -> None:
        """Count something that has to be 0."""
        self.figures.append(Figure(name, counted, of, what))

    def rotate(self, playbook: str, name: str, *words: str) -> None:
        """A playbook that has to leave another value in its parameter."""
        before = self.scene.value(ROTATED[name])
        self.film.play(playbook, LIMIT, name, *words)
        self.rotations.append(self.scene.value(ROTATED[name]) != before)

    def retire(self, name: str) -> None:
        """End what was replaced, once its grace is over: a second, which a fast machine may not need."""
        told = self.scene.previous(name)["retire_after"]
        end = datetime.fromisoformat(told.replace("Z", "+00:00"))
        wait_until(lambda: datetime.now(timezone.utc) > end, 10, "the end of the grace period")
        self.film.play("retire_due", LIMIT, name)
        self.retired.append(self.scene.previous(name) is None)

    @contextmanager
    def under_load(self) -> Iterator[None]:
        """Say what the workers did meanwhile."""
        workers = self.scene.workers
        before = workers.status()
        yield
        workers.work(20)
        now = workers.status()
        done = {name: now[name] - before[name] for name in COUNTERS}
        self.film.note(
            "the workers meanwhile: {logins} logins, {failed_logins} failed; {transactions} transactions, "
            "{failed_transactions} failed".format(**done)
        )

    def bootstrap(self) -> None:
        """1."""
        film, scene = self.film, self.scene
        film.act(
            "A new environment gets its first values",
            """Three secrets are missing. --check lists what would be made, and where. Then they are made, at their issuers, too: the
            database gets its role. One parameter was typed in by somebody long ago: it is left alone. The application does not run
            yet, so nobody is told. The same command again writes nothing.""",
        )
        before = scene.state()
        film.play("bootstrap", "--check", brief="report")
        self.claim(
            "writes of bootstrap --check",
            len(written(before, scene.state())),
            len(before),
            "places",
        )
        film.play("bootstrap", brief="summary")
        before = scene.state()
        film.play("bootstrap", brief="summary")
        again = written(before, scene.state())
        film.note(
            f"written by the second run: {len(again)} of {len(before)} parameters, roles and files"
        )
        self.claim("writes of a second bootstrap", len(again), len(before), "places")
        scene.workers.start()
        scene.tell(application=True)
        film.note("now the application is started, told, and seen using what was made:")
        film.play("rotate_db", "--tags", "reload")
        if not scene.containers.why:
            film.note(
                "the compose file here mounts the folder of the env file, and has no env_file: no value is in a command line"
            )

    def database(self) -> None:
        """2."""
        self.film.act(
            "DB_PASSWORD is rotated while workers log in all the time",
            """A second role gets a new password and the rights of the first, and a login proves it. Then both parameters are written,
            and the application is told. The first role stays valid meanwhile, so there is no moment in which a login fails.
            keyturn_force rotates it although it is young.""",
        )
        with self.under_load():
            self.rotate("rotate_db", "db_password", *FORCE)

    def webhooks(self) -> None:
        """3."""
        film, scene = self.film, self.scene
        film.act(
            "WEBHOOK_SECRET_KEY is rotated, and what it encrypted stays readable",
            """The parameter is a list of Fernet keys: the new one is added, then it comes first. reencrypt brings the rows of a table
            under it while a service reads and writes them, and only then retire_due ends the old key. Its policy is to rotate it only
            after a compromise, so somebody has to force it, and to say why.""",
        )
        name, first = "webhook_secret_key", scene.value("WEBHOOK_SECRET_KEY")
        scene.database.seal_hooks(first)
        with scene.webhooks.at_work() as service:
            self.rotate("rotate", name, *FORCE, "-e", "keyturn_reason=INC-41")
            older = readable(scene.database.hooks(), first)
            film.play("reencrypt", LIMIT, name)
            self.retire(name)
            told = service.told()
        rows, faults = scene.database.hooks(), len(told["faults"])
        opened, turns = (
            readable(rows, scene.value("WEBHOOK_SECRET_KEY")),
            sum(told["counts"].values()),
        )
        film.note(
            f"{older} rows were under the old key; now the new one alone opens {opened} of {len(rows)}"
        )
        film.note(
            f"the service meanwhile: {turns} rows opened, changed, added or removed; {faults} failed"
        )
        self.claim("rows that the new key does not open", len(rows) - opened, len(rows), "rows")
        self.claim("failures of the webhooks' service", faults, turns, "turns")

    def runner(self) -> None:
        """4."""
        film, name = self.film, "runner_token"
        film.act(
            "RUNNER_TOKEN is rotated: one token, two services, no call refused",
            """The runner calls the server all the time. The server takes a list, so it has the new token before the runner shows it.
            When the runner was seen with the new one, retire_due ends the old one.""",
        )
        with self.scene.pair.at_work() as pair:
            self.rotate("rotate", name, *FORCE)
            self.retire(name)
            calls, refused = pair.told()
        film.note(f"the runner meanwhile: {calls} calls, {refused} refused")
        self.claim("calls of the runner that were refused", refused, calls, "calls")

    def images(self) -> None:
        """5."""
        film, scene = self.film, self.scene
        film.act(
            "Two images are searched for secrets",
            """Somebody copied the database password into an image, and put a harmless file over it in the next layer; another secret is in
            its environment. audit_image reads every layer, and knows the values of all keyrings, so it finds the first one although its
            name tells nothing. It fails, so that a build stops there.""",
        )
        key = f"sk_{secrets.token_hex(16)}"
        film.search.know({f"the planted {LEFT}": key})
        scene.tell(images=scene.containers.images(scene.value("DB_PASSWORD"), key))
        film.play("audit_image", brief="report", fails="End with what was found")
        found = [one for image in scene.report("images")["images"] for one in image["findings"]]
        told = [(one.get("path") or one.get("name"), one.get("credential")) for one in found]
        planted = {(SETTING, "db_password"), (LEFT, None)}
        missed, wrong = planted - set(told), [one for one in told if one not in planted]
        film.note(
            f"{len(planted) - len(missed)} of {len(planted)} planted secrets found, {len(wrong)} false alarms"
        )
        self.claim("planted secrets that were not found", len(missed), len(planted), "secrets")
        self.claim("false alarms in images", len(wrong), len(told), "findings")

    def audit(self) -> None:
        """6."""
        film, scene = self.film, self.scene
        film.act(
            "The whole estate in one look",
            """SMTP_PASSWORD may be 90 days old. It was typed in 95 days ago, so it is taken over (adopt) with that day. Then audit looks at
            all credentials and parameters: what is due, what somebody else has changed, and what no credential claims. It fails for
            what has to be seen to, so that a scheduler tells somebody.""",
        )
        day = (datetime.now(timezone.utc) - timedelta(days=95)).strftime("%Y-%m-%d")
        film.play("adopt", LIMIT, "smtp_password", "-e", f"keyturn_adopt_made={day}T00:00:00Z")
        wanted = ("-e", "keyturn_audit_fail_on=due,unknown")
        film.play("audit", *wanted, brief="report", fails="End with what was found")
        told = scene.report("credentials")
        found = {
            (name, kind) for name, one in told["credentials"].items() for kind in one["classes"]
        }
        found |= {(one["name"].rpartition("/")[2], "unknown") for one in told["unknown"]}
        wrong = found ^ {("smtp_password", "due"), (UNCLAIMED, "unknown")}
        looked = sum(name.startswith(PRODUCTION) for name in scene.versions())
        self.claim("findings of audit that are wrong or missing", len(wrong), looked, "parameters")

    def compromise(self) -> None:
        """7."""
        film, scene = self.film, self.scene
        film.act(
            "A laptop is stolen, with DB_PASSWORD on it",
            """Somebody logs in with it. respond_compromise makes a new value, has everybody use it, and then ends the stolen one and all
            that was replaced before, without a grace. report_incident writes down who read the parameter and who logged in, and
            fails for what was not expected. (CloudTrail is a stand-in that knows two reads. PostgreSQL's log is real.)""",
        )
        stolen = scene.value("DB_USER"), scene.value("DB_PASSWORD")
        trail = CloudTrailApi(reads(datetime.now(timezone.utc)))
        if not scene.database.accepts(*stolen):
            raise Broken("the stolen password has to work before the answer")
        film.note(f"the thief logs in as {stolen[0]}")
        with self.under_load():
            self.rotate(
                "respond_compromise",
                "db_password",
                *INCIDENT,
                "-e",
                "keyturn_response=rotate_first",
            )
        accepted = scene.database.accepts(*stolen)
        film.note(f"the thief tries again, and is {'let in' if accepted else 'refused'}")
        self.claim("logins with the stolen password afterwards", int(accepted), 1, "try")
        times = (stamp(scene.since), stamp(datetime.now(timezone.utc)))
        window = [
            word
            for name, at in zip(("since", "until"), times, strict=True)
            for word in ("-e", f"keyturn_{name}={at}")
        ]
        with serving(trail) as address:
            env = {"AWS_ENDPOINT_URL_CLOUDTRAIL": address}
            film.play(
                "report_incident",
                LIMIT,
                "db_password",
                *INCIDENT,
                *window,
                fails="not expected",
                env=env,
            )
        record = scene.report("INC-42")
        film.show(summary(record))
        missing, faults = strangers_missing(record), len(trail.faults)
        self.claim("unexpected reads that the record does not tell", missing, 1, "read")
        self.claim("requests that are not as AWS has them", faults, len(trail.times), "requests")

    def sum_up(self) -> None:
        """Count what several acts had."""
        for name, done, what in (
            ("rotations without a new value", self.rotations, "rotations"),
            ("replaced values that retire_due did not end", self.retired, "values"),
        ):
            if done:
                self.claim(name, done.count(False), len(done), what)
