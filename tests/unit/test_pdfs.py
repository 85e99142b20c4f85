"""PDF files, opened in one thread of a process at a time."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pypdfium2
import pytest
from tests import kinds, preloaded

from encord_agents.pdfs import PDFIUM, open_pdf


def test_an_open_document(tmp_path: Path) -> None:
    """It is that of pypdfium2, of a path or of bytes, ready to draw the fields of a form, if it has any."""
    for path, has_fields in ((kinds.pdf(tmp_path / "a.pdf"), False), (kinds.form(tmp_path / "b.pdf"), True)):
        for source in (path, path.read_bytes()):
            with PDFIUM:
                document = open_pdf(source)
                assert (document.formenv is not None) == has_fields
                document.close()
    with PDFIUM, pytest.raises(pypdfium2.PdfiumError):
        open_pdf(b"words")


THREADS = """
import sys
from pathlib import Path
from threading import Thread
from encord_agents.core.documents import count_pages, iterate_pages
from encord_agents.local.page.documents import page
from encord_agents.local.page.documents import sizes
from encord_agents.local.page.pictures import Kept

path, drawn = Path(sys.argv[1]), []

def of_runner():
    for _ in range(5):
        assert count_pages(path) == 3
        drawn.extend(found.frame for found in iterate_pages(path, dpi=72))

def of_platform():
    for time in range(5):
        assert len(sizes(Kept(), str(time), path)) == 3
        for number in range(3):
            page(path, number)
            drawn.append(number)

threads = [Thread(target=work) for work in (of_runner, of_platform) * 4]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
assert sorted(drawn) == sorted([0, 1, 2] * 5 * 8), drawn
"""


def test_many_threads(tmp_path: Path) -> None:
    """Threads of a runner and of the local platform draw in the same process, which PDFium survives."""
    path = kinds.written(tmp_path / "a.pdf")
    done = preloaded.run([sys.executable, "-c", THREADS, str(path)], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


FORK = """
import os, sys
from threading import Event, Thread
from encord_agents.pdfs import PDFIUM

held, over = Event(), Event()
os.register_at_fork(before=over.set)  # the functions that are registered last are called first

def draw():
    with PDFIUM:
        held.set()
        over.wait()

thread = Thread(target=draw)
thread.start()
held.wait()
child = os.fork()
if not child:
    os._exit(0 if PDFIUM.acquire(timeout=30) else 1)
thread.join()
with PDFIUM:
    sys.exit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_fork_in_the_middle_of_a_drawing() -> None:
    """A process that is forked while another thread draws can draw as well."""
    assert preloaded.run([sys.executable, "-W", "ignore", "-c", FORK], check=False).returncode == 0
