"""Work in a background thread reports its progress, and is cancelled when its visitor leaves."""

import threading
import time

from ui.service.jobs import BackgroundJob, CancelFlag


def test_a_job_reports_its_progress_and_gives_its_result():
    seen = threading.Event()

    def work(progress):
        for share in (0.25, 0.75):
            progress(share)
            assert seen.wait(30)
            seen.clear()
        return "done"

    job, shares = BackgroundJob(work, CancelFlag()), []
    for share in job:
        shares.append(share)
        seen.set()
    assert shares == [0.25, 0.75]
    assert job.result == "done"


def test_a_job_is_cancelled_when_nobody_reads_its_progress_any_longer():
    flag, ended = CancelFlag(), threading.Event()

    def work(progress):
        progress(0.5)
        while not flag.is_set():
            time.sleep(0.01)
        ended.set()

    progress_of_job = iter(BackgroundJob(work, flag))
    assert next(progress_of_job) == 0.5
    progress_of_job.close()
    assert ended.wait(2)
