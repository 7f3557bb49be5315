"""Certificates: what no attacker within a budget can do to the predictions of a victim."""

from __future__ import annotations

from gssl_poison.certification.certificate import Certificate, certify

__all__ = ["Certificate", "certify"]
