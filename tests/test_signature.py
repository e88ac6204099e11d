"""How a webhook is signed: what a receiver believes, and what it does not."""

import hashlib
import hmac

import pytest

from sentinel_py.signature import TOLERANCE_S, sign, verify

SECRET, BODY, NOW = "s e cret", b'{"id":"x-1"}', 1_700_000_000


def test_the_form_is_the_documented_one():
    """Receivers in other languages compute it by themselves."""
    expected = hmac.new(SECRET.encode(), b"1700000000." + BODY, hashlib.sha256).hexdigest()
    assert sign(SECRET, BODY, NOW) == f"t=1700000000,v1={expected}"


def test_what_was_signed_is_believed():
    """As long as it is fresh, by clocks that may differ a little."""
    header = sign(SECRET, BODY, NOW)
    assert verify(SECRET, BODY, header, now_s=NOW + TOLERANCE_S)
    assert verify(SECRET, BODY, header, now_s=NOW - TOLERANCE_S)


def test_a_recorded_request_is_not_believed_again():
    """Who sends it later would have to change the time, and cannot sign that."""
    header = sign(SECRET, BODY, NOW)
    later = NOW + TOLERANCE_S + 1
    assert not verify(SECRET, BODY, header, now_s=later)
    assert not verify(SECRET, BODY, header.replace(str(NOW), str(later)), now_s=later)
    assert not verify(SECRET, BODY, header, now_s=NOW + 2, tolerance_s=1)


@pytest.mark.parametrize(
    "header", ["", "t=1", "v1=", "t=,v1=", "t=x,v1=y", "t=1,v1=é", "t=²,v1=a", f"t={'9' * 99},v1=a"]
)
def test_nonsense_is_not_believed(header):
    """Whatever stands in the header, the answer is no, and no exception."""
    assert not verify(SECRET, BODY, header, now_s=NOW)


def test_another_body_or_secret_is_not_believed():
    """The signature is of both."""
    header = sign(SECRET, BODY, NOW)
    assert not verify(SECRET, BODY + b" ", header, now_s=NOW)
    assert not verify("other", BODY, header, now_s=NOW)
