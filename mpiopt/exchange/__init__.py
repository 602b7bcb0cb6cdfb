"""Exchanges: how ranks turn their messages into one."""
