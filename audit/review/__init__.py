"""People check a sample in a browser: blind, by keyboard or by tap, every answer kept."""
