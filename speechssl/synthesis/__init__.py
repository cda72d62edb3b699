"""Text to speech in any voice: text -> phones -> keys and pitch of one speaker -> retrieval from a voice -> sound."""

from __future__ import annotations
