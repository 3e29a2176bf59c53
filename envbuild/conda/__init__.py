"""conda packages without conda: solved, fetched and installed by py-rattler, in short-lived processes of ours."""
