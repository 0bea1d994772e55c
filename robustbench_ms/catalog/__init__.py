"""What a spelling means: suites and cards by name, by file, by module:function; and what their files may say."""
