"""Refusals of the API server: the right that is missing, in the words of `kubectl auth can-i`."""

from __future__ import annotations

import json

import pytest
import urllib3
from kubernetes.client import ApiException

from weir_cli.cluster.refusals import missing, said, silence, why

USER = 'User "system:serviceaccount:team-a:ci" cannot'


def refusal(message: str, status: int = 403) -> ApiException:
    """An error of the client, with the API server's answer."""
    error = ApiException(status=status, reason="Forbidden")
    error.body = json.dumps({"kind": "Status", "message": message})
    return error


@pytest.mark.parametrize(
    ("message", "right"),
    [
        (
            f'deployments.apps is forbidden: {USER} list resource "deployments" in API group "apps" '
            'in the namespace "w"',
            "list deployments.apps in namespace w",
        ),
        (
            f'pods "gw-0:9090" is forbidden: {USER} get resource "pods/proxy" in API group "" in the namespace "w"',
            "get pods/proxy in namespace w",
        ),
        (
            f'namespaces is forbidden: {USER} list resource "namespaces" in API group "" at the cluster scope',
            "list namespaces cluster-wide",
        ),
        (
            f'modeltiers.weir.dev "b" is forbidden: {USER} patch resource "modeltiers/status" in API group "weir.dev" '
            'in the namespace "llm": RBAC: role.rbac.authorization.k8s.io "x" not found',
            "patch modeltiers.weir.dev/status in namespace llm",
        ),
        (f'forbidden: {USER} get path "/openid/v1/jwks"', "get /openid/v1/jwks"),
    ],
)
def test_the_missing_right_is_named(message: str, right: str):
    assert missing(refusal(message)) == right
    assert why(refusal(message)) == f"you may not {right}"


def test_other_errors_are_told_in_the_api_server_s_words():
    quota = 'pods "p" is forbidden: exceeded quota: q'
    assert (missing(refusal(quota)), why(refusal(quota))) == (None, f"the API server answers: {quota}")
    assert missing(refusal(f'{USER} get resource "pods" in API group ""', status=404)) is None


def test_an_answer_without_words_has_its_status():
    error = ApiException(status=502, reason="Bad Gateway")
    error.body = "<html>"
    assert said(error) == "502 Bad Gateway"


def test_a_server_that_does_not_answer_is_named_with_the_cause():
    pool = urllib3.HTTPSConnectionPool("api.example", 6443)
    timeout = urllib3.exceptions.ReadTimeoutError(pool, "/", "Read timed out. (read timeout=10)")
    tls = urllib3.exceptions.SSLError("[SSL] certificate verify failed: unknown authority (_ssl.c:1006)")
    for error, words in ((timeout, "Read timed out. (read timeout=10)"), (tls, str(tls))):
        for found in (error, urllib3.exceptions.MaxRetryError(pool, "/a?token=secret", error)):
            assert silence(found).endswith(f" does not answer: {words}")
            assert "secret" not in silence(found)
        assert "at api.example:6443 " in silence(found)
    assert silence(urllib3.exceptions.HTTPError()) == "the API server does not answer: HTTPError"
