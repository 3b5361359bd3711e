"""The version of the package, which trainings keep beside their results."""

VERSION = "0.1.0"
