"""Runs side by side: tables, pictures, pages."""
