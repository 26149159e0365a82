"""The page's files: by name, nothing else, and not twice."""

from __future__ import annotations

from typing import TYPE_CHECKING

from queuewarden.application.http import page_files

if TYPE_CHECKING:
    from served import Served


def test_every_file_of_the_page_is_served_with_its_type(api: Served) -> None:
    for name, file in page_files._files().items():
        answer = api.get(f"/page/{name}", token=None)
        assert (answer.status, answer.body) == (200, file.body)
        assert answer.headers["Content-Type"] == file.type
        assert answer.headers["Cache-Control"] == "no-cache"


def test_the_root_is_the_page(api: Served) -> None:
    answer = api.get("/", token=None)
    assert answer.status == 200
    assert answer.headers["Content-Type"] == "text/html; charset=utf-8"


def test_a_file_that_is_known_is_not_sent_again(api: Served) -> None:
    connection = api.connect()
    etag = api.get("/", token=None).headers["ETag"]
    for known in (etag, f'W/"other", {etag}', f"W/{etag}"):
        connection.request("GET", "/", headers={"If-None-Match": known})
        response = connection.getresponse()
        assert (response.status, response.read()) == (304, b"")
    connection.request("GET", "/", headers={"If-None-Match": '"other"'})
    assert connection.getresponse().status == 200
    connection.close()


def test_nothing_else_of_the_package_can_be_asked_for(api: Served) -> None:
    for name in ("app.py", "../app.py", "..%2fapp.py", "%2e%2e/app.py", "page_files.py", "__init__.py"):
        assert api.get(f"/page/{name}", token=None).status == 404
