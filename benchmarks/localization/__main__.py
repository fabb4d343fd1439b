from benchmarks.localization.run import main

main()
